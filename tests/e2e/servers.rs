//! Several servers on one bucket, of which one is killed again and again.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};
use sidetrail_api::Operation;
use sidetrail_tests::server::{Called, REGIONS, call};
use sidetrail_tests::{SeaweedFs, Server, collector};

/// Seconds of load; `SIDETRAIL_RACE_SECONDS` asks for others.
const SECONDS: u64 = 15;
const WRITERS: usize = 6;
const SERVERS: usize = 3;
/// Trails that an account may have in a region.
const MAX_TRAILS: usize = 5;

/// What is known of the number that one writer writes, over and over, each time one more.
#[derive(Debug, Default)]
struct Counter {
    /// The last one that was acknowledged.
    acknowledged: AtomicU64,
    /// The last one that was tried.
    tried: AtomicU64,
}

#[derive(Debug, Default)]
struct Figures {
    written: AtomicU64,
    unknown: AtomicU64,
    conflicts: AtomicU64,
    read: AtomicU64,
    made: AtomicU64,
    kills: AtomicU64,
}

#[derive(Debug)]
struct Race {
    servers: Vec<std::net::SocketAddr>,
    counters: Vec<Counter>,
    figures: Figures,
    end: AtomicBool,
}

/// No lost update, no wrong read: each writer's number is never seen below what was acknowledged before the read began,
/// nor above what was tried, by whichever server; and there are never more trails than there may be.
#[test]
fn three_servers_lose_nothing_while_one_is_killed() -> Result<()> {
    let asked = std::env::var("SIDETRAIL_RACE_SECONDS").ok().and_then(|text| text.parse().ok());
    let length = Duration::from_secs(asked.unwrap_or(SECONDS));
    let store = SeaweedFs::shared()?;
    let bucket = store.bucket("race")?;
    let trails = store.bucket("race-trails")?;
    let directory = tempfile::tempdir()?;
    let mut servers = Vec::new();
    for number in 0..SERVERS {
        let directory = directory.path().join(number.to_string());
        std::fs::create_dir(&directory)?;
        servers.push(Server::start(&directory, store, &bucket, "limits: { throttling: off }\n")?);
    }
    let race = Race {
        servers: servers.iter().map(Server::api).collect(),
        counters: (0..WRITERS).map(|_| Counter::default()).collect(),
        figures: Figures::default(),
        end: AtomicBool::new(false),
    };
    let create = json!({ "Name": "shared", "S3BucketName": trails });
    let created = call(race.servers[0], "admin", REGIONS[0], Operation::CreateTrail, &create);
    ensure!(matches!(created, Called::Done(_)), "the trail was not made: {created:?}");

    let outcome: Result<()> = thread::scope(|scope| {
        let race = &race;
        let trails = trails.as_str();
        let mut threads: Vec<_> =
            (0..WRITERS).map(|writer| scope.spawn(move || write(race, writer))).collect();
        threads.extend((0..2).map(|maker| scope.spawn(move || make_trails(race, maker, trails))));
        let killed = kill(race, &mut servers, length);
        race.end.store(true, Ordering::SeqCst);
        for thread in threads {
            match thread.join() {
                Ok(result) => result?,
                Err(_) => bail!("a thread panicked"),
            }
        }
        killed
    });
    outcome?;

    for server in &race.servers {
        check_read(&race, *server)?;
    }
    let figures = &race.figures;
    let figure = |value: &AtomicU64| value.load(Ordering::SeqCst);
    eprintln!(
        "{} s: {} updates acknowledged, {} of unknown outcome, {} conflicts, {} reads checked, {} trails made or deleted, \
         {} kills; nothing lost, no wrong read",
        length.as_secs(),
        figure(&figures.written),
        figure(&figures.unknown),
        figure(&figures.conflicts),
        figure(&figures.read),
        figure(&figures.made),
        figure(&figures.kills),
    );
    ensure!(figure(&figures.written) > 0 && figure(&figures.kills) > 0, "nothing was raced");
    Ok(())
}

fn arn() -> String {
    format!("arn:aws:cloudtrail:{}:{}:trail/shared", REGIONS[0], collector::ACCOUNT)
}

/// Writes one more, through whichever server, and reads through another.
fn write(race: &Race, writer: usize) -> Result<()> {
    let mut random = Random::of(writer as u64 + 1);
    let counter = &race.counters[writer];
    while !race.end.load(Ordering::SeqCst) {
        let next = counter.tried.fetch_add(1, Ordering::SeqCst) + 1;
        let tag = json!({ "Key": format!("w{writer}"), "Value": next.to_string() });
        let input = json!({ "ResourceId": arn(), "TagsList": [tag] });
        match call(random.of_list(&race.servers), "admin", REGIONS[0], Operation::AddTags, &input) {
            Called::Done(_) => {
                counter.acknowledged.store(next, Ordering::SeqCst);
                race.figures.written.fetch_add(1, Ordering::SeqCst);
            }
            Called::Refused(code) if code == "ConflictException" => {
                race.figures.conflicts.fetch_add(1, Ordering::SeqCst);
            }
            Called::Refused(code) => bail!("writer {writer} was refused: {code}"),
            Called::Unknown(_) => {
                race.figures.unknown.fetch_add(1, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(20));
            }
        }
        read(race, random.of_list(&race.servers))?;
    }
    Ok(())
}

/// Reads all numbers, if the server answers.
fn read(race: &Race, server: std::net::SocketAddr) -> Result<bool> {
    let before: Vec<_> =
        race.counters.iter().map(|counter| counter.acknowledged.load(Ordering::SeqCst)).collect();
    let input = json!({ "ResourceIdList": [arn()] });
    let answer = match call(server, "auditor", REGIONS[0], Operation::ListTags, &input) {
        Called::Done(answer) => answer,
        Called::Refused(code) => bail!("a read was refused: {code}"),
        Called::Unknown(_) => return Ok(false),
    };
    let tags = answer["ResourceTagList"][0]["TagsList"].as_array().cloned().unwrap_or_default();
    for (writer, counter) in race.counters.iter().enumerate() {
        let key = format!("w{writer}");
        let value = tags.iter().find(|tag| tag["Key"] == key.as_str());
        let value = value.and_then(|tag| tag["Value"].as_str()?.parse().ok()).unwrap_or(0_u64);
        let tried = counter.tried.load(Ordering::SeqCst);
        ensure!(
            before[writer] <= value && value <= tried,
            "writer {writer}: {server} says {value}, acknowledged were {} and tried {tried}",
            before[writer]
        );
    }
    race.figures.read.fetch_add(1, Ordering::SeqCst);
    Ok(true)
}

/// At the end every server is there, and its answer counts.
fn check_read(race: &Race, server: std::net::SocketAddr) -> Result<()> {
    ensure!(read(race, server)?, "{server} does not answer");
    Ok(())
}

/// Makes and deletes trails, so that what there may be five of is fought for.
fn make_trails(race: &Race, maker: u64, bucket: &str) -> Result<()> {
    let mut random = Random::of(maker + 100);
    let region = REGIONS[0];
    while !race.end.load(Ordering::SeqCst) {
        let name = format!("trail-{}", random.below(8));
        let (operation, input): (_, Value) = match random.below(2) {
            0 => (Operation::CreateTrail, json!({ "Name": name, "S3BucketName": bucket })),
            _ => (Operation::DeleteTrail, json!({ "Name": name })),
        };
        match call(random.of_list(&race.servers), "admin", region, operation, &input) {
            Called::Done(_) => {
                race.figures.made.fetch_add(1, Ordering::SeqCst);
            }
            Called::Refused(code) => ensure!(
                [
                    "TrailAlreadyExistsException",
                    "TrailNotFoundException",
                    "MaximumNumberOfTrailsExceededException",
                    "ConflictException"
                ]
                .contains(&code.as_str()),
                "{operation} was refused: {code}"
            ),
            Called::Unknown(_) => thread::sleep(Duration::from_millis(20)),
        }
        let listed =
            call(random.of_list(&race.servers), "auditor", region, Operation::ListTrails, &json!({}));
        if let Called::Done(listed) = listed {
            let count = listed["Trails"].as_array().map_or(0, Vec::len);
            ensure!((1..=MAX_TRAILS).contains(&count), "there are {count} trails");
        }
    }
    Ok(())
}

/// Kills one after the other, by chance, for as long as it takes.
fn kill(race: &Race, servers: &mut [Server], length: Duration) -> Result<()> {
    let began = Instant::now();
    let mut random = Random::of(u64::from(std::process::id()));
    while began.elapsed() < length {
        thread::sleep(Duration::from_millis(500 + random.below(2000)));
        let victim = random.below(servers.len() as u64) as usize;
        servers[victim].kill()?;
        race.figures.kills.fetch_add(1, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(random.below(1000)));
        servers[victim].resume()?;
    }
    Ok(())
}

/// Enough chance to choose by.
struct Random(u64);

impl Random {
    fn of(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn of_list<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize]
    }
}
