//! Any sequence of calls and crashes.

use proptest::prelude::*;

use crate::{
    driver::{Driver, small},
    memory::{MemoryFs, Survival},
};

#[derive(Clone, Debug)]
enum Call {
    Append(u8),
    Sync,
    Read(u8),
    Note,
    Release,
    Restart,
    Crash(u64),
    PowerCut,
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        8 => (1..12u8).prop_map(Call::Append),
        6 => Just(Call::Sync),
        5 => (1..30u8).prop_map(Call::Read),
        3 => Just(Call::Note),
        3 => Just(Call::Release),
        1 => Just(Call::Restart),
        2 => any::<u64>().prop_map(Call::Crash),
        1 => Just(Call::PowerCut),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_acked_frame_once_and_in_order(calls in prop::collection::vec(call(), 1..120), spares in 0..3usize) {
        let mut driver = Driver::new(MemoryFs::default(), small().with_spares(spares), Survival::Nothing);
        for call in calls {
            match call {
                Call::Append(frames) => {
                    // Stops at a full spool, as a sender does.
                    for _ in 0..frames {
                        if !driver.append() {
                            break;
                        }
                    }
                }
                Call::Sync => driver.sync(),
                Call::Read(frames) => driver.read(frames.into()),
                Call::Note => driver.note(),
                Call::Release => driver.release(),
                Call::Restart => driver.restart(),
                Call::Crash(seed) => driver.crash(Survival::Some(seed)),
                Call::PowerCut => driver.crash(Survival::Nothing),
            }
        }
        driver.finish(Survival::Some(7));
    }
}
