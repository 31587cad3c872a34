//! Processes of the binary that share the work of a cluster, come and go.

use super::cluster::{Cluster, Member};
use super::patiently;
use crate::sender::Sent;

/// What is at work on a cluster.
#[derive(Debug)]
pub(crate) struct Crew<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) members: Vec<Member>,
}

impl<'a> Crew<'a> {
    /// So many `watch` and so many `process`, all started.
    pub(crate) fn start(cluster: &'a Cluster, watch: usize, process: usize) -> Self {
        let mut crew = Self { cluster, members: Vec::new() };
        (0..watch).for_each(|_| crew.join("watch"));
        (0..process).for_each(|_| crew.join("process"));
        crew.members.iter_mut().for_each(Member::wait_until_started);
        crew
    }

    /// One more; it may still be starting.
    pub(crate) fn join(&mut self, word: &str) {
        self.members.push(self.cluster.start(word));
    }

    /// Ends the first of this kind, hard or clean.
    pub(crate) fn leave(&mut self, word: &str, hard: bool) {
        let at = self.members.iter().position(|member| member.word == word).unwrap();
        let mut member = self.members.remove(at);
        if hard { member.kill() } else { member.terminate() }
    }

    /// Ends them all and starts as many, hard: all at once, or clean: one after the other.
    pub(crate) fn bounce(&mut self, hard: bool) {
        let words: Vec<String> = self.members.iter().map(|member| member.word.clone()).collect();
        if hard {
            self.members.iter().for_each(|member| member.signal("KILL"));
            for mut member in self.members.drain(..) {
                member.wait();
            }
            words.iter().for_each(|word| self.join(word));
        } else {
            for word in words {
                self.leave(&word, false);
                self.join(&word);
            }
        }
    }

    /// Waits until so many records are applied, of all.
    ///
    /// # Panics
    ///
    /// Where they are not in time, or one of the crew has ended.
    pub(crate) fn wait_until_applied(&mut self, records: u64) {
        let (cluster, members) = (self.cluster, &mut self.members);
        let is_so = || {
            if let Some(gone) = members.iter_mut().find_map(|it| it.ended().map(|_| it)) {
                panic!("one has ended: {}", gone.last_said());
            }
            cluster.applied() >= records
        };
        patiently(&format!("{records} records are applied"), is_so, || cluster.situation());
    }

    /// Waits until each of these files is reconciled.
    pub(crate) fn wait_until_reconciled(&mut self, files: &[Sent]) {
        let records: Vec<u64> = files
            .iter()
            .map(|sent| crate::oracle::read(sent.format(), &sent.bytes).records)
            .collect();
        self.wait_until_applied(records.iter().sum());
        self.cluster.wait_until_reconciled(files);
    }

    /// Ends them all in order.
    pub(crate) fn terminate(mut self) {
        self.members.iter_mut().for_each(Member::terminate);
    }
}
