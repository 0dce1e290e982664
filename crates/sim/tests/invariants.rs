//! Each invariant can fail: what is deliberately broken is noticed, and by the right name.

use std::panic::catch_unwind;

use sim::Scenario::{Cluster, Compaction, Groups, Log, Shard, Share, Transactions};
use sim::{Sabotage, Scenario};

const SEEDS: u64 = 80;

/// Some seed of a sabotaged simulation ends with this invariant.
fn fires(scenario: Scenario, sabotage: Sabotage, invariant: &str) {
    let mut seen = Vec::new();
    for seed in 0..SEEDS {
        let Err(panic) = catch_unwind(|| sim::run(scenario, seed, sabotage)) else {
            continue;
        };
        let literal = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = panic.downcast_ref::<String>().cloned().or(literal);
        let text = text.unwrap_or_default();
        if text.contains(&format!("{invariant}: ")) {
            return;
        }
        seen.push(text);
    }
    panic!("{sabotage:?} is not noticed as {invariant} in {SEEDS} seeds, but as {seen:#?}");
}

#[test]
fn a_sync_that_lies_loses_what_was_acknowledged() {
    fires(Log, Sabotage::LyingSync, "AckedIsDurable");
    fires(Shard, Sabotage::LyingSync, "AckedIsDurable");
    fires(Groups, Sabotage::LyingSync, "AckedIsDurable");
    fires(Share, Sabotage::LyingSync, "AckedIsDurable");
}

#[test]
fn a_sync_that_lies_loses_what_was_seen() {
    fires(Shard, Sabotage::LyingSyncUnacknowledged, "VisibleIsDurable");
}

#[test]
fn a_batch_that_is_cut_out_leaves_a_gap() {
    fires(Shard, Sabotage::CutOutBatch, "OffsetsAreDense");
}

#[test]
fn a_replay_that_forgets_gives_another_state() {
    fires(Log, Sabotage::ForgetfulReplay, "ReplayEqualsLive");
    fires(Groups, Sabotage::ForgetfulReplay, "ReplayEqualsLive");
    fires(Cluster, Sabotage::ForgetfulReplay, "ReplayEqualsLive");
    fires(Transactions, Sabotage::ForgetfulReplay, "ReplayEqualsLive");
    fires(Share, Sabotage::ForgetfulReplay, "ReplayEqualsLive");
}

#[test]
fn a_forgotten_record_takes_a_generation_back() {
    fires(Groups, Sabotage::ForgetfulReplay, "GenerationsNeverGoBack");
}

#[test]
fn an_event_for_another_shard_is_refused() {
    fires(Shard, Sabotage::WrongShard, "OneOwnerPerPartition");
}

#[test]
fn a_retry_without_a_sequence_is_stored_twice() {
    fires(Shard, Sabotage::AnonymousRetries, "NoDuplicate");
}

#[test]
fn a_duplicate_with_another_offset_is_noticed() {
    fires(Shard, Sabotage::WrongFirstOffset, "DuplicateHasFirstOffset");
}

#[test]
fn a_batch_that_nobody_sent_is_noticed() {
    fires(Shard, Sabotage::InventedBatch, "NothingInvented");
}

#[test]
fn a_lost_checkpoint_brings_deleted_records_back() {
    fires(Shard, Sabotage::LostCheckpoint, "LogStartNeverGoesBack");
}

#[test]
fn a_lost_answer_is_missed() {
    fires(Shard, Sabotage::LostAnswer, "EveryRequestIsAnswered");
}

#[test]
fn a_flipped_byte_is_damage() {
    fires(Shard, Sabotage::FlippedByte, "RecoveryFindsNoDamage");
}

#[test]
fn a_marker_that_is_lost_holds_readers_up() {
    fires(Transactions, Sabotage::LostMarker, "NothingHangs");
}

#[test]
fn a_partition_that_is_told_another_end_tears_a_transaction() {
    fires(Transactions, Sabotage::WrongOutcome, "AllOrNothing");
}

#[test]
fn a_former_producer_that_is_let_in_is_noticed() {
    fires(Transactions, Sabotage::PresentAsFormer, "FencedIsRefused");
}

#[test]
fn two_instances_with_one_epoch_are_noticed() {
    fires(Transactions, Sabotage::TwinInstances, "OneProducerPerEpoch");
}

#[test]
fn a_sync_that_lies_takes_committed_records_away() {
    fires(Transactions, Sabotage::LyingSync, "VisibleIsDurable");
}

#[test]
fn a_record_that_is_freed_behind_its_owner_gets_a_second_one() {
    fires(Share, Sabotage::EarlyRelease, "OneOwnerPerRecord");
}

#[test]
fn a_dead_letter_that_is_thrown_away_is_missed() {
    fires(Share, Sabotage::LostLetters, "WorkComesToAnEnd");
}

#[test]
fn a_sync_that_lies_loses_keys_of_a_compacted_log() {
    fires(Compaction, Sabotage::LyingSync, "AckedIsDurable");
}

#[test]
fn a_record_that_a_reader_misses_changes_the_table() {
    fires(Compaction, Sabotage::ForgetfulReplay, "SameTable");
}
