//! Tests of a suite, some at the same time; what failed runs once more, alone, so that a busy machine is not taken for a fault.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::{TestResult, Verdict};

/// Runs one process and tells what became of its tests; it is given the number of the attempt.
pub type Job<'a> = Box<dyn Fn(u32) -> Vec<TestResult> + Send + Sync + 'a>;

pub fn run_all(jobs: Vec<Job<'_>>, parallel: usize) -> Vec<TestResult> {
    let results = Mutex::new(BTreeMap::new());
    let failed = Mutex::new(Vec::new());
    let queue = Mutex::new(jobs.into_iter());
    let next = || queue.lock().expect("no thread panics").next();
    std::thread::scope(|threads| {
        for _ in 0..parallel.max(1) {
            threads.spawn(|| {
                while let Some(job) = next() {
                    let found = job(1);
                    found.iter().for_each(|test| test.print(1));
                    if found.iter().any(|test| test.verdict == Verdict::Failed) {
                        failed.lock().expect("no thread panics").push(job);
                    }
                    let named = found.into_iter().map(|test| (test.name.clone(), test));
                    results.lock().expect("no thread panics").extend(named);
                }
            });
        }
    });
    let mut results = results.into_inner().expect("no thread panics");
    for job in failed.into_inner().expect("no thread panics") {
        for mut test in job(2) {
            let first = results.get(&test.name).map(|first| first.verdict);
            if first == Some(Verdict::Failed) {
                test.print(2);
                test.passed_again = test.verdict == Verdict::Passed;
                results.insert(test.name.clone(), test);
            }
        }
    }
    results.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_runs_once_more_and_says_so() {
        let job = |name: &'static str, passes_at: u32| -> Job<'static> {
            Box::new(move |attempt| {
                let verdict = match attempt >= passes_at {
                    true => Verdict::Passed,
                    false => Verdict::Failed,
                };
                vec![TestResult::new(name, verdict, "", 0.0)]
            })
        };
        let found = run_all(vec![job("a", 1), job("b", 2), job("c", 3)], 2);
        let told: Vec<_> = found
            .iter()
            .map(|test| (test.name.as_str(), test.verdict, test.passed_again))
            .collect();
        assert_eq!(
            told,
            [
                ("a", Verdict::Passed, false),
                ("b", Verdict::Passed, true),
                ("c", Verdict::Failed, false)
            ]
        );
    }
}
