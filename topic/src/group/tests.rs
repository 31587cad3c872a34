use super::*;

const TOPIC: Topic = Topic::Records;

/// Members that do what they are told; a revocation waits until it is acknowledged.
struct Crew {
    coordinator: Coordinator,
    /// For each member, its partitions and their generations.
    held: BTreeMap<u64, BTreeMap<u32, u64>>,
    ending: Vec<(u64, Vec<u32>)>,
}

impl Crew {
    fn new() -> Self {
        Self { coordinator: Coordinator::new(0), held: BTreeMap::new(), ending: Vec::new() }
    }

    fn join(&mut self) -> u64 {
        let member = self.coordinator.join("g", TOPIC, 4);
        self.held.insert(member, BTreeMap::new());
        self.tell();
        member
    }

    fn leave(&mut self, member: u64) {
        self.coordinator.leave("g", TOPIC, member);
        self.held.remove(&member);
        self.ending.retain(|(other, _)| *other != member);
        self.tell();
    }

    fn acknowledge_one(&mut self) {
        let (member, partitions) = self.ending.remove(0);
        for partition in &partitions {
            self.held.get_mut(&member).unwrap().remove(partition);
        }
        self.coordinator.acknowledge("g", TOPIC, member, &partitions);
        self.tell();
    }

    fn acknowledge_all(&mut self) {
        while !self.ending.is_empty() {
            self.acknowledge_one();
        }
    }

    /// Tells everybody everything, and checks that no partition is at two members.
    fn tell(&mut self) {
        for member in self.held.keys().copied().collect::<Vec<u64>>() {
            while let Some(told) = self.coordinator.tell("g", TOPIC, member) {
                match told {
                    Told::Revoked(partitions) => self.ending.push((member, partitions)),
                    Told::Assigned(partitions) => {
                        for (partition, generation) in partitions {
                            let is_free = self.held.values().all(|it| !it.contains_key(&partition));
                            assert!(is_free, "partition {partition} is at two members");
                            self.held.get_mut(&member).unwrap().insert(partition, generation);
                        }
                    }
                }
            }
        }
    }

    fn partitions(&self, member: u64) -> Vec<u32> {
        self.held[&member].keys().copied().collect()
    }

    fn consumed(&self, member: u64, partition: u32) -> Consumed {
        let generation = self.held[&member][&partition];
        let membership = Membership { group: "g".to_owned(), member, generation };
        Consumed { membership, positions: vec![(TOPIC, partition, 1)] }
    }
}

#[test]
fn a_second_member_waits_for_the_acknowledgement() {
    let mut crew = Crew::new();
    let first = crew.join();
    assert_eq!(crew.partitions(first), [0, 1, 2, 3]);
    let second = crew.join();
    assert_eq!(crew.partitions(second), [0_u32; 0]);
    assert_eq!(crew.ending, [(first, vec![2, 3])]);
    crew.acknowledge_one();
    assert_eq!(crew.partitions(first), [0, 1]);
    assert_eq!(crew.partitions(second), [2, 3]);
}

#[test]
fn what_a_member_keeps_keeps_its_generation() {
    let mut crew = Crew::new();
    let first = crew.join();
    let kept = crew.consumed(first, 0);
    let moved = crew.consumed(first, 3);
    crew.join();
    assert_eq!(crew.coordinator.check(&moved), Ok(()), "until it is acknowledged");
    crew.acknowledge_all();
    assert_eq!(crew.coordinator.check(&kept), Ok(()));
    assert_eq!(
        crew.coordinator.check(&moved).unwrap_err(),
        "generation 2 of group g no longer has partition 3 of records"
    );
}

#[test]
fn a_partition_that_comes_back_has_another_generation() {
    let mut crew = Crew::new();
    let first = crew.join();
    let before = crew.consumed(first, 3);
    let second = crew.join();
    crew.leave(second);
    crew.acknowledge_all();
    assert_eq!(crew.partitions(first), [0, 1, 2, 3]);
    crew.coordinator.check(&before).unwrap_err();
    assert_eq!(crew.coordinator.check(&crew.consumed(first, 3)), Ok(()));
}

#[test]
fn who_leaves_loses_everything_at_once() {
    let mut crew = Crew::new();
    let first = crew.join();
    let second = crew.join();
    let past = crew.consumed(first, 2);
    crew.leave(first);
    assert_eq!(crew.partitions(second), [0, 1, 2, 3]);
    assert_eq!(
        crew.coordinator.check(&past).unwrap_err(),
        format!("member {first} is not in group g")
    );
}

#[test]
fn a_recall_that_nobody_heard_of_is_taken_back() {
    let mut coordinator = Coordinator::new(0);
    let first = coordinator.join("g", TOPIC, 4);
    coordinator.tell("g", TOPIC, first).unwrap();
    let second = coordinator.join("g", TOPIC, 4);
    coordinator.leave("g", TOPIC, second);
    assert_eq!(coordinator.tell("g", TOPIC, first), None);
}

proptest::proptest! {
    /// Whatever comes and goes: never two members at one partition (which `tell` checks), and once
    /// all is acknowledged, everything is shared out evenly.
    #[test]
    fn shares_are_even_and_never_overlap(steps in proptest::collection::vec(0..4_u8, 1..40)) {
        let mut crew = Crew::new();
        for step in steps {
            match step {
                0 | 1 if crew.held.len() < 6 => { crew.join(); }
                2 if !crew.ending.is_empty() => crew.acknowledge_one(),
                3 if !crew.held.is_empty() => {
                    let eldest = *crew.held.keys().next().unwrap();
                    crew.leave(eldest);
                }
                _ => (),
            }
        }
        crew.acknowledge_all();
        let sizes: Vec<usize> = crew.held.values().map(BTreeMap::len).collect();
        if let (Some(least), Some(most)) = (sizes.iter().min(), sizes.iter().max()) {
            assert_eq!(sizes.iter().sum::<usize>(), 4);
            assert!(most - least <= 1, "{sizes:?}");
        }
    }
}
