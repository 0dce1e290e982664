use crate::{Reached, Sabotage};
pub fn run_groups(_seed: u64, _sabotage: Sabotage) -> Reached {
    Reached::default()
}
pub fn run_cluster(_seed: u64, _sabotage: Sabotage) -> Reached {
    Reached::default()
}
