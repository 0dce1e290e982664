//! How many connections each address has open, against `max.connections.per.ip` and its overrides.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use broker_state::configs::BrokerConfig;
use parking_lot::Mutex;

/// The open connections by address; bounded by the limit on all connections.
#[derive(Debug, Default)]
pub struct Addresses {
    limit: usize,
    overrides: BTreeMap<IpAddr, usize>,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// The place of one connection; given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    addresses: Arc<Addresses>,
    address: IpAddr,
}

impl Addresses {
    /// # Errors
    /// A sentence, when the overrides are not `address:count` pairs.
    pub fn new(config: &BrokerConfig) -> Result<Self, String> {
        let limit = config.integer("max.connections.per.ip");
        let overrides = config.value("max.connections.per.ip.overrides");
        Ok(Self {
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            overrides: parse(overrides.unwrap_or_default())?,
            open: Mutex::default(),
        })
    }

    /// A place for a connection from `address`, or `None` when it has as many as it may.
    pub fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = address.to_canonical();
        let limit = self.overrides.get(&address).copied().unwrap_or(self.limit);
        let mut open = self.open.lock();
        let count = open.get(&address).copied().unwrap_or(0);
        if count >= limit {
            return None;
        }
        open.insert(address, count + 1);
        Some(Place {
            addresses: Arc::clone(self),
            address,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.addresses.open.lock();
        match open.get_mut(&self.address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(open.remove(&self.address)),
        }
    }
}

fn parse(overrides: &str) -> Result<BTreeMap<IpAddr, usize>, String> {
    let pairs = overrides.split(',').map(str::trim);
    let pair = |pair: &str| {
        let parsed = pair.rsplit_once(':').and_then(|(address, count)| {
            let address: IpAddr = address.trim().parse().ok()?;
            Some((address.to_canonical(), count.trim().parse().ok()?))
        });
        parsed.ok_or_else(|| {
            format!("max.connections.per.ip.overrides is a list of address:count, not {pair}")
        })
    };
    pairs.filter(|text| !text.is_empty()).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(limit: &str, overrides: &str) -> Arc<Addresses> {
        let entries = [
            ("max.connections.per.ip", limit),
            ("max.connections.per.ip.overrides", overrides),
        ];
        let config = BrokerConfig::from_static(entries).expect("a good configuration");
        Arc::new(Addresses::new(&config).expect("good overrides"))
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_has_as_many_connections_as_it_may_and_gets_closed_ones_back() {
        let addresses = addresses("1", "127.0.0.9:2, ::1:0");
        let first = addresses.admit(address("127.0.0.1"));
        assert!(first.is_some());
        assert!(addresses.admit(address("127.0.0.1")).is_none());
        assert!(
            addresses.admit(address("::ffff:127.0.0.1")).is_none(),
            "the same address"
        );
        drop(first);
        assert!(addresses.admit(address("127.0.0.1")).is_some());
        let two = [
            addresses.admit(address("127.0.0.9")),
            addresses.admit(address("127.0.0.9")),
        ];
        assert!(two.iter().all(Option::is_some));
        assert!(addresses.admit(address("127.0.0.9")).is_none());
        assert!(addresses.admit(address("::1")).is_none());
        drop(two);
        assert!(
            addresses.open.lock().is_empty(),
            "nothing is kept of those who have left"
        );
    }

    #[test]
    fn overrides_that_are_none_are_refused() {
        for overrides in ["x:1", "127.0.0.1", "127.0.0.1:many"] {
            assert!(parse(overrides).is_err(), "{overrides}");
        }
        assert_eq!(parse(""), Ok(BTreeMap::new()));
    }
}
