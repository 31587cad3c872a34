//! The same again: what was taken once changes nothing, and what only looks the same is told apart.

use crate::sender::Sent;
use crate::site::Site;

fn two_files() -> Vec<Sent> {
    vec![Sent::nacha("payments.ach", 21, 200), Sent::ipm("cards.ipm", 22, 200)]
}

/// The same inbox, then the same bytes under other names and in gzip: duplicates, and not one row
/// of the store changes.
#[test]
fn the_same_bytes_change_no_row() {
    let files = two_files();
    let site = Site::with(&files);
    assert_eq!(site.once().code, Some(0));
    site.assert_whole(&files);
    let rows = site.stored_rows();
    assert!(rows.len() > 400, "a row a record at least");

    let again = site.once();
    assert_eq!(again.code, Some(0), "nothing new is nothing to report: {}", again.stderr);
    assert!(site.stored_rows() == rows, "the same inbox again");

    for sent in &files {
        site.drop_in(&sent.renamed(&format!("again-{}", sent.name)));
        site.drop_in(&sent.gzipped(&format!("packed-{}.gz", sent.name)));
    }
    let doubled = site.once();
    assert_eq!(doubled.code, Some(3), "{}", doubled.stderr);
    for sent in &files {
        for name in [format!("again-{}", sent.name), format!("packed-{}.gz", sent.name)] {
            assert!(site.is(&name, "duplicate"), "{name}: {:?}", site.states());
        }
    }
    assert!(site.stored_rows() == rows, "the same bytes under other names");
    site.assert_whole(&files);
}

/// Duplicates that arrive at one moment: one of them is taken.
#[test]
fn of_twins_one_is_taken() {
    let sent = Sent::nacha("a.ach", 23, 300);
    let site = Site::with(&[sent.clone(), sent.renamed("b.ach"), sent.gzipped("c.ach.gz")]);
    let run = site.once();
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    let states: Vec<String> = site.states().into_iter().map(|(_, state)| state).collect();
    assert_eq!(states.iter().filter(|state| *state == "reconciled").count(), 1, "{states:?}");
    assert_eq!(states.iter().filter(|state| *state == "duplicate").count(), 2, "{states:?}");
    assert_eq!(site.differences(&[sent]), [] as [String; 0]);
}

/// Another file under the same name is a new file.
#[test]
fn another_file_under_the_same_name_is_new() {
    let first = Sent::nacha("daily.ach", 24, 100);
    let second = Sent::nacha("daily.ach", 25, 130);
    let site = Site::with(std::slice::from_ref(&first));
    assert_eq!(site.once().code, Some(0));
    site.drop_in(&second);
    let run = site.once();
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let reconciled = ("daily.ach".to_owned(), "reconciled".to_owned());
    assert_eq!(site.states(), [reconciled.clone(), reconciled]);
    site.assert_whole(&[first, second]);
}

/// Another content under the file's own identifier waits for somebody to decide.
#[test]
fn another_content_under_the_same_identifier_is_held() {
    let first = two_files();
    let other = [Sent::nacha("other.ach", 21, 150), Sent::ipm("other.ipm", 22, 150)];
    let site = Site::with(&first);
    assert_eq!(site.once().code, Some(0));
    let rows = site.stored_rows();
    for sent in &other {
        site.drop_in(sent);
    }
    let run = site.once();
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    for sent in &other {
        assert!(site.is(&sent.name, "held"), "{:?}", site.states());
        let row = site.file(&sent.name).unwrap();
        assert!(row["reason"].as_str().unwrap_or_default().contains("identifier"), "{row}");
        assert_eq!((&row["published"], &row["applied"]), (&0.into(), &0.into()), "{row}");
    }
    assert!(site.stored_rows() == rows, "nothing of it is applied");
    assert_eq!(site.differences(&first), [] as [String; 0]);
}
