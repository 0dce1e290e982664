//! The open-file limit of this process: raised as far as it goes, and what the broker may use of it.
//! Called once, before the broker starts.

use broker::Limits;
use rustix::process::{Resource, getrlimit, setrlimit};

/// Files for everything that is neither a connection nor a segment.
const RESERVED: u64 = 128;

/// Raises the soft limit to the hard one; gives limits that fit into what there is. A connection takes one file, a
/// partition one for each of its segments: of ten files, three are for connections and six for partitions.
pub fn limits() -> Limits {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // A system that does not let us keeps the limit that it has.
    let _ = setrlimit(Resource::Nofile, limit);
    fit(getrlimit(Resource::Nofile).current, Limits::default())
}

/// How many HTTP connections there may be: a tenth of the files, and what ten thousand live streams need at the most.
pub fn http_connections() -> usize {
    let tenth = getrlimit(Resource::Nofile).current.map(|files| files / 10);
    let tenth = tenth.and_then(|tenth| usize::try_from(tenth).ok());
    tenth.unwrap_or(usize::MAX).clamp(64, 16_384)
}

fn fit(open_files: Option<u64>, limits: Limits) -> Limits {
    let Some(open_files) = open_files else {
        return limits;
    };
    let tenth = usize::try_from(open_files.saturating_sub(RESERVED) / 10).unwrap_or(usize::MAX);
    let of_ten = |tenths: usize| tenth.saturating_mul(tenths).max(16);
    Limits {
        connections: limits.connections.min(of_ten(3)),
        partitions: limits.partitions.min(of_ten(6)),
        ..limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_limit_bounds_connections_and_partitions() {
        let limits = fit(Some(1_024), Limits::default());
        assert_eq!((limits.connections, limits.partitions), (267, 534));
        let unlimited = fit(None, Limits::default());
        assert_eq!(unlimited, Limits::default());
    }
}
