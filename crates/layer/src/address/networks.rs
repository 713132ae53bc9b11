//! A list of networks.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// Networks whose hosts are trusted. None by default.
#[derive(Debug, Default)]
pub(crate) struct Networks(Box<[IpNet]>);

impl Networks {
    /// Reads `10.0.0.0/8`, `10.1.2.3`, `fd00::/8`, or says which of them makes no sense.
    pub(crate) fn parse(networks: &[String]) -> Result<Self, (String, &'static str)> {
        let read = |text: &String| {
            let address = || text.trim().parse().map(|address: IpAddr| IpNet::from(address));
            let network = text.trim().parse().or_else(|_| address());
            network.map(canonical).map_err(|_| (text.clone(), "neither a network nor an address"))
        };
        networks.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Whether the address, in its canonical form, is in one of them.
    pub(crate) fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// A network of IPv4 addresses that are written as IPv6 is a network of IPv4 addresses.
fn canonical(network: IpNet) -> IpNet {
    const PREFIX: u8 = 96;
    match (network, network.addr().to_canonical()) {
        (IpNet::V6(v6), IpAddr::V4(address)) if v6.prefix_len() >= PREFIX => {
            Ipv4Net::new(address, v6.prefix_len() - PREFIX).map_or(network, IpNet::V4)
        }
        _ => network,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_addresses() {
        let list =
            |texts: &[&str]| Networks::parse(&texts.iter().map(ToString::to_string).collect::<Vec<_>>());
        let networks = list(&["10.0.0.0/8", "192.0.2.1", " fd00::/8", "::ffff:172.16.0.0/108"]).unwrap();
        for (address, expected) in [
            ("10.255.0.1", true),
            ("11.0.0.1", false),
            ("192.0.2.1", true),
            ("192.0.2.2", false),
            ("fd12::1", true),
            ("fe80::1", false),
            ("172.31.0.1", true),
            ("172.32.0.1", false),
        ] {
            assert_eq!(networks.contain(address.parse().unwrap()), expected, "{address}");
        }
        for bad in ["10.0.0.0/33", "10.0.0", "", "example.com", "::1/129", "10.0.0.0/-1"] {
            assert_eq!(list(&["::1", bad]).unwrap_err().0, bad);
        }
        assert!(!Networks::default().contain("10.0.0.1".parse().unwrap()));
    }
}
