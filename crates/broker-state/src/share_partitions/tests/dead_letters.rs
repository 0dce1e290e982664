//! Records that are given up go to the dead-letter topic before they are archived (KIP-1191).

use super::*;
use AcknowledgeType::{Reject, Release};

fn rig(end: i64) -> Rig {
    let mut rig = Rig::new(end, end);
    rig.settings.has_dead_letter_topic = true;
    rig
}

fn letters(rig: &mut Rig) -> Vec<(i64, i64, i16)> {
    let letters = rig.machine.take_dead_letters();
    letters.iter().map(|l| (l.first, l.last, l.count)).collect()
}

fn done(rig: &mut Rig, first: i64, last: i64) {
    let key = Rig::key();
    rig.ask(Command::DeadLettersDone { key, first, last });
}

#[test]
fn a_rejected_record_is_a_dead_letter_until_it_was_copied() {
    let mut rig = rig(3);
    assert_eq!(rig.fetch("a", 10), [(0, 2, 1)]);
    assert_eq!(rig.acknowledge("a", 0, 1, Reject), Ok(()));
    assert_eq!(letters(&mut rig), [(0, 1, 1)]);
    assert_eq!(rig.start_offset(), 0, "not archived before it was copied");
    rig.release_member("a");
    assert_eq!(rig.fetch("b", 10), [(2, 2, 2)], "and not delivered again");
    done(&mut rig, 0, 1);
    assert_eq!(rig.start_offset(), 2);
    assert_eq!(letters(&mut rig), []);
}

#[test]
fn a_record_at_its_limit_is_a_dead_letter_however_it_fails() {
    let mut rig = rig(1);
    for count in 1..=4 {
        assert_eq!(rig.fetch("a", 10), [(0, 0, count)]);
        assert_eq!(rig.acknowledge("a", 0, 0, Release), Ok(()));
    }
    assert_eq!(rig.fetch("a", 10), [(0, 0, 5)]);
    rig.pass(30_000);
    assert_eq!(letters(&mut rig), [(0, 0, 5)]);
    done(&mut rig, 0, 0);
    assert_eq!(rig.start_offset(), 1);
}

#[test]
fn dead_letters_survive_a_restart() {
    let mut rig = rig(2);
    assert_eq!(rig.fetch("a", 10), [(0, 1, 1)]);
    assert_eq!(rig.acknowledge("a", 1, 1, Reject), Ok(()));
    assert_eq!(letters(&mut rig), [(1, 1, 1)]);
    rig.restart();
    assert_eq!(letters(&mut rig), [(1, 1, 1)], "sent off once more");
    assert_eq!(rig.fetch("a", 10), [(0, 0, 1)]);
    done(&mut rig, 1, 1);
    rig.restart();
    assert_eq!(letters(&mut rig), []);
}

#[test]
fn only_what_is_on_its_way_can_arrive() {
    let mut rig = rig(4);
    assert_eq!(rig.fetch("a", 10), [(0, 3, 1)]);
    assert_eq!(rig.acknowledge("a", 2, 2, Reject), Ok(()));
    done(&mut rig, 0, 3);
    assert_eq!(rig.start_offset(), 0);
    assert_eq!(rig.accept("a", 0, 1), Ok(()));
    assert_eq!(rig.start_offset(), 3);
}
