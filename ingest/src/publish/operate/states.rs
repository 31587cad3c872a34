//! In which states of a file a command is taken, and why not in the others.

use schemas::command::Action;
use schemas::file::FileState as State;

/// Why a file in this state does not take this command; none where it does.
pub(super) fn refusal(action: &Action, state: &State) -> Option<&'static str> {
    let row = TABLE.iter().find(|row| row.action == *action);
    let Some(row) = row else { return Some("this version knows no such command") };
    if row.taken.contains(state) {
        return None;
    }
    let particular = row.refused.iter().find(|(states, _)| states.contains(state));
    Some(particular.map_or(row.otherwise, |(_, why)| why))
}

/// A command: where it is taken, and why not elsewhere.
struct Row {
    action: Action,
    taken: &'static [State],
    refused: &'static [(&'static [State], &'static str)],
    otherwise: &'static str,
}

const UNDONE: &str = "what is undone stays undone; `batchless accept` takes the same content again";

static TABLE: [Row; 7] = [
    Row {
        action: Action::HOLD,
        taken: &[State::VERIFIED, State::PUBLISHING],
        refused: &[
            (&[State::HELD], "nothing more of it is published until `batchless release`"),
            (&[State::FAILED], "it waits for its bytes; `batchless cancel` gives it up"),
            (&[State::CANCELLED, State::REVERSING, State::REVERSED], "it is given up or undone"),
        ],
        otherwise: "all of it is published; `batchless cancel` or `batchless reverse` undoes it",
    },
    Row {
        action: Action::RELEASE,
        taken: &[State::HELD],
        refused: &[(&[State::FAILED], "it goes on by itself once its bytes are there again")],
        otherwise: "it is not held",
    },
    Row {
        action: Action::CANCEL,
        taken: &[State::VERIFIED, State::PUBLISHING, State::PUBLISHED, State::HELD, State::FAILED],
        refused: &[(
            &[State::RECONCILED, State::UNBALANCED],
            "all of its shards have answered; `batchless reverse` undoes it",
        )],
        otherwise: "it is given up or undone already",
    },
    Row {
        action: Action::REVERSE,
        taken: &[State::RECONCILED, State::UNBALANCED],
        refused: &[(
            &[State::CANCELLED, State::REVERSING, State::REVERSED],
            "it is given up or undone already",
        )],
        otherwise: "its shards have not all answered; until then only `batchless cancel` undoes it",
    },
    Row {
        action: Action::REPLAY,
        taken: &[
            State::PUBLISHED,
            State::RECONCILED,
            State::UNBALANCED,
            State::HELD,
            State::FAILED,
        ],
        refused: &[
            (&[State::VERIFIED], "nothing of it is published yet"),
            (&[State::PUBLISHING], "it is being published; `batchless hold` stops it"),
        ],
        otherwise: UNDONE,
    },
    Row {
        action: Action::ACCEPT,
        taken: &[
            State::PUBLISHED,
            State::RECONCILED,
            State::UNBALANCED,
            State::CANCELLED,
            State::REVERSED,
        ],
        refused: &[
            (&[State::REVERSING], "it is being undone; wait for its end"),
            (&[State::HELD], "`batchless release` lets it go on"),
            (&[State::FAILED], "it goes on by itself once its bytes are there again"),
        ],
        otherwise: "it is on its way already",
    },
    Row {
        action: Action::RESUBMIT,
        taken: &[State::RECONCILED, State::UNBALANCED],
        refused: &[(&[State::CANCELLED, State::REVERSING, State::REVERSED], UNDONE)],
        otherwise: "its shards have not all answered; wait until it is reconciled",
    },
];
