//! Finds the manifests that no digest covers yet, and has them taken in the order of their chains.

use std::collections::{BTreeMap, HashMap};

use futures_util::{StreamExt, TryStreamExt};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

use super::super::format::Digest;
use super::super::names::{Names, Spot};
use super::super::period::Period;
use super::super::selection::{Believed, Selection};
use super::keys::Belief;
use super::{Digester, State, StepError};
use crate::dsse::{Envelope, MAX_ENVELOPE};
use crate::hash::Sha256;
use crate::key::{Id, ManifestKey, Place, Trail, Unique};
use crate::manifest::Manifest;
use crate::sign::{KeyId, PublicKey};
use crate::store::StoreError;

/// How long before a period the listing begins: what was delivered late is found by it.
const LOOK_BACK: SignedDuration = SignedDuration::from_hours(24);

/// How far the listing goes back for manifests that are known to be missing, and once a day for what chains that stand
/// still may have delivered late. A chain has one such manifest at most: it goes on only when that is stored.
const LOOK_FAR_BACK: SignedDuration = SignedDuration::from_hours(24 * 30);

/// How long a chain waits for a manifest that is missing while later ones are there, before it goes on without. Should it
/// come after that, it is in the digest of then.
pub const PATIENCE: SignedDuration = SignedDuration::from_hours(1);

/// So many missing manifests of a chain are looked for at once.
const MAX_MISSING: u64 = 256;

/// Manifests that are read at the same time.
const READS: usize = 8;

/// The most chains of other trails, and the most useless manifests, that are remembered.
const MAX_STRANGERS: usize = 4_096;
const MAX_USELESS: usize = 65_536;

/// Manifests that are there and not taken yet, by chain and index: where each may lie.
type Ahead = BTreeMap<Id, BTreeMap<u64, Vec<Spot>>>;

/// What came of reading a manifest.
enum Read {
    Manifest(Box<(Manifest, Sha256, PublicKey)>),
    /// It is not to be believed, and never will be.
    Useless(String),
    /// Its key is not one of those that are to be believed.
    Untrusted(KeyId),
    /// It is not to be believed now.
    NotYet,
}

/// A period as the listing sees it.
struct Look<'a> {
    trail: Trail,
    period: Period,
    /// Takes no manifest that is not covered here.
    as_in: Option<&'a Digest>,
}

impl Look<'_> {
    /// Whether a manifest may be taken, as far as its place in the chain goes.
    fn wants(&self, collector: Id, index: u64) -> bool {
        let Some(statement) = self.as_in.and_then(|digest| digest.statement.as_ref()) else { return true };
        let mut chains = statement.chains.iter();
        chains.any(|range| range.collector == collector && (range.first..=range.last).contains(&index))
    }
}

impl Digester {
    /// Takes what the digest of a period covers.
    pub(super) async fn select(
        &mut self,
        state: &mut State,
        period: Period,
        now: Timestamp,
        as_in: Option<&Digest>,
    ) -> Result<Selection, StepError> {
        let trail = self.settings.trail.clone();
        let look = Look { trail: trail.clone(), period, as_in };
        let mut selection = Selection::new(trail, period.end, state.heads.clone(), self.limit);
        let mut ahead = Ahead::new();

        // Days by themselves where there may be many: a trail that gets its first digest, or has more than one takes.
        let (first, many) = match &state.head {
            Some(_) if !state.behind => (back(period.start, LOOK_BACK), false),
            _ => (self.earliest().await?.unwrap_or(period.start), true),
        };
        let mut days = days(first.min(period.start), period.end).peekable();
        while let Some(day) = days.next() {
            let mut names = Names::default();
            let mut listed = self.list(day, &look, state, &mut names).await?;
            while (!many || listed < self.limit / 4)
                && let Some(day) = days.next()
            {
                listed += self.list(day, &look, state, &mut names).await?;
            }
            names.leave_out_covered(&selection.heads, &look.trail, first);
            self.sort(state, &look, &mut selection, names, &mut ahead).await?;
            self.take(state, &look, &mut selection, &mut ahead, now).await?;
            if selection.is_full() {
                return Ok(selection);
            }
        }
        self.take_what_is_late(state, &look, &mut selection, &mut ahead, first, now).await?;
        Ok(selection)
    }

    /// Lists a day; says how many names there are.
    async fn list(
        &self,
        day: Date,
        look: &Look<'_>,
        state: &State,
        names: &mut Names,
    ) -> Result<usize, StepError> {
        let mut count = 0;
        let mut listed = self.store.below(&self.day_prefix(day));
        while let Some((name, _)) = listed.try_next().await? {
            if let Some((minute, unique)) = self.spot(&name)
                && minute.start() < look.period.end
                && !state.useless.contains(&unique)
            {
                names.insert((minute, unique))?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// Finds out whose each name is.
    async fn sort(
        &mut self,
        state: &mut State,
        look: &Look<'_>,
        selection: &mut Selection,
        mut names: Names,
        ahead: &mut Ahead,
    ) -> Result<(), StepError> {
        for ((collector, trail), index) in &mut state.strangers {
            let mut last = *index;
            names.walk(*collector, trail, index.saturating_add(1).., |index, _| last = index);
            names.walk(*collector, trail, (0..=*index).rev(), |_, _| {});
            *index = last;
        }
        for (collector, chain) in selection.heads.iter() {
            let holes = chain.holes.iter().rev().flat_map(|(first, last)| *first..=*last);
            let next = std::iter::once(chain.next);
            let mut goes_on = false;
            for index in holes.take(MAX_MISSING as usize).chain(next) {
                let spots = names.take(collector, &look.trail, index);
                if !spots.is_empty() {
                    goes_on |= index == chain.next;
                    ahead.entry(collector).or_default().insert(index, spots);
                }
            }
            if goes_on {
                names.walk(collector, &look.trail, chain.next.saturating_add(1).., |index, spots| {
                    ahead.entry(collector).or_default().insert(index, spots);
                });
            }
        }
        // The rest has to be read, one of each chain.
        while let Some(spot) = names.any() {
            names.remove(spot.1);
            let (manifest, _, _) = match self.read(spot).await? {
                Read::Manifest(read) => *read,
                Read::NotYet => continue,
                Read::Useless(reason) => {
                    selection.problem(self.manifest_key(spot).to_string(), reason);
                    remember(&mut state.useless, spot.1);
                    continue;
                }
                // It may be of another trail: that is for nobody to say.
                Read::Untrusted(id) => {
                    self.warn(format!("{}: {}", self.manifest_key(spot), untrusted(id)));
                    remember(&mut state.useless, spot.1);
                    continue;
                }
            };
            let (collector, trail, index) =
                (manifest.chain.collector, manifest.chain.trail, manifest.chain.index);
            if trail != look.trail {
                names.walk(collector, &trail, index.saturating_add(1).., |_, _| {});
                names.walk(collector, &trail, (0..index).rev(), |_, _| {});
                if state.strangers.len() >= MAX_STRANGERS {
                    state.strangers.clear();
                }
                state.strangers.insert((collector, trail), index);
                continue;
            }
            let covered = |index| selection.heads.get(collector).is_some_and(|chain| chain.covers(index));
            if covered(index) {
                remember(&mut state.useless, spot.1);
            }
            let chain = ahead.entry(collector).or_default();
            let mut found = |index, spots| {
                if !covered(index) {
                    chain.insert(index, spots);
                }
            };
            let mut spots = names.take(collector, &look.trail, index);
            spots.push(spot);
            found(index, spots);
            names.walk(collector, &look.trail, index.saturating_add(1).., &mut found);
            names.walk(collector, &look.trail, (0..index).rev(), &mut found);
        }
        Ok(())
    }

    /// Takes from each chain what goes on from where it stands, and what fills a hole.
    async fn take(
        &mut self,
        state: &mut State,
        look: &Look<'_>,
        selection: &mut Selection,
        ahead: &mut Ahead,
        now: Timestamp,
    ) -> Result<(), StepError> {
        let mut due: Vec<(Id, u64, Spot)> = Vec::new();
        for (collector, chain) in ahead.iter_mut() {
            let head = selection.heads.get(*collector);
            let next = head.map_or(0, |head| head.next);
            let in_hole = |index: &u64| head.is_some_and(|head| head.has_hole_at(*index));
            let mut ready: Vec<u64> = chain.keys().copied().filter(in_hole).collect();
            let there = chain.range(next..).map(|(index, _)| *index);
            ready.extend(there.zip(next..).take_while(|(index, next)| index == next).map(|(index, _)| index));
            for index in ready.into_iter().filter(|index| look.wants(*collector, *index)) {
                let spots = chain.remove(&index).unwrap_or_default();
                due.extend(spots.into_iter().map(|spot| (*collector, index, spot)));
            }
        }
        let mut stopped: HashMap<Id, u64> = HashMap::new();
        for due in due.chunks(READS) {
            let bytes = futures_util::stream::iter(due.iter().map(|(_, _, spot)| self.fetch(*spot)));
            let bytes: Vec<_> = bytes.buffered(READS).try_collect().await?;
            for ((collector, index, spot), bytes) in due.iter().zip(bytes) {
                if selection.is_full() {
                    return Ok(());
                }
                let covered = selection.heads.get(*collector).is_some_and(|head| head.covers(*index));
                if covered || stopped.get(collector).is_some_and(|stopped| stopped < index) {
                    continue;
                }
                let reason = match self.believe(*spot, bytes).await? {
                    Read::Manifest(read) => {
                        let (manifest, sha256, key) = *read;
                        if (manifest.chain.collector, manifest.chain.index) == (*collector, *index) {
                            stopped.remove(collector);
                            selection.take(Believed { manifest, sha256, key });
                        }
                        continue;
                    }
                    Read::Useless(reason) => reason,
                    Read::Untrusted(id) => untrusted(id),
                    Read::NotYet if !state.has_waited(*collector, *index, now) => {
                        stopped.insert(*collector, *index);
                        continue;
                    }
                    Read::NotYet => "unknown: signed by a key that is not published".to_owned(),
                };
                selection.problem(self.manifest_key(*spot).to_string(), reason);
                remember(&mut state.useless, spot.1);
            }
        }
        Ok(())
    }

    /// Looks further back for what chains wait for, and lets those go on that have waited for long.
    async fn take_what_is_late(
        &mut self,
        state: &mut State,
        look: &Look<'_>,
        selection: &mut Selection,
        ahead: &mut Ahead,
        first: Timestamp,
        now: Timestamp,
    ) -> Result<(), StepError> {
        ahead.retain(|_, chain| !chain.is_empty());
        let far = state.fresh || self.settings.cadence.has_heads(look.period.end);
        let mut missing: HashMap<Unique, (Id, u64)> = HashMap::new();
        for (collector, chain) in ahead.iter() {
            let next = selection.heads.get(*collector).map_or(0, |head| head.next);
            if let Some((index, _)) = chain.first_key_value() {
                let end = (*index).min(next.saturating_add(MAX_MISSING));
                expect(&mut missing, *collector, &look.trail, next..end);
            }
        }
        let idle = |(_, chain): &(Id, &super::super::heads::Chain)| {
            far && (chain.at <= first || !chain.holes.is_empty())
        };
        for (collector, chain) in selection.heads.iter().filter(idle) {
            let holes = chain.holes.iter().rev().flat_map(|(first, last)| *first..=*last);
            expect(&mut missing, collector, &look.trail, holes.take(MAX_MISSING as usize));
            expect(&mut missing, collector, &look.trail, chain.next..chain.next.saturating_add(1));
        }
        if !missing.is_empty() {
            let from = back(look.period.start, LOOK_FAR_BACK);
            for day in days(from, first) {
                let mut listed = self.store.below(&self.day_prefix(day));
                while let Some((name, _)) = listed.try_next().await? {
                    if let Some(spot) = self.spot(&name)
                        && !state.useless.contains(&spot.1)
                        && let Some((collector, index)) = missing.get(&spot.1).copied()
                    {
                        ahead.entry(collector).or_default().entry(index).or_default().push(spot);
                    }
                }
            }
            self.take(state, look, selection, ahead, now).await?;
        }
        self.go_on_without(state, look, selection, ahead, now).await
    }

    /// Chains whose next manifest is missing while later ones are there go on without it, after a time. One that is in no
    /// digest yet may begin anywhere: its trail may have gone to another bucket before.
    async fn go_on_without(
        &mut self,
        state: &mut State,
        look: &Look<'_>,
        selection: &mut Selection,
        ahead: &mut Ahead,
        now: Timestamp,
    ) -> Result<(), StepError> {
        ahead.retain(|_, chain| !chain.is_empty());
        let collectors: Vec<_> = ahead.keys().copied().collect();
        for collector in collectors {
            let head = selection.heads.get(collector);
            let (next, is_new) = (head.map_or(0, |head| head.next), head.is_none());
            let beyond = ahead.get(&collector).and_then(|chain| chain.range(next..).next());
            let Some((index, spot)) = beyond.and_then(|(index, spots)| Some((*index, *spots.first()?)))
            else {
                continue;
            };
            let key = self.manifest_key(spot).to_string();
            let missing = match index - next {
                0 => continue,
                1 => format!("manifest {next} of its chain is not there"),
                _ => format!("manifests {next} to {} of its chain are not there", index - 1),
            };
            // What another writer went on without is gone on without in its digest, too.
            let waited = is_new || look.as_in.is_some() || state.has_waited(collector, next, now);
            if !waited {
                self.warn(format!("{key} waits: {missing}"));
            }
            if !waited || !look.wants(collector, index) {
                continue;
            }
            if let Read::Manifest(read) = self.read(spot).await? {
                let (manifest, sha256, signer) = *read;
                if !is_new {
                    selection.problem(key, format!("gap: {missing}"));
                }
                selection.take(Believed { manifest, sha256, key: signer });
                if let Some(chain) = ahead.get_mut(&collector) {
                    chain.remove(&index);
                }
            }
        }
        self.take(state, look, selection, ahead, now).await
    }

    async fn fetch(&self, spot: Spot) -> Result<Option<Vec<u8>>, StoreError> {
        match self.store.get(&self.manifest_key(spot).to_string(), MAX_ENVELOPE).await {
            Ok(bytes) => Ok(Some(bytes.to_vec())),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) if error.is_too_large() => Ok(Some(Vec::new())),
            Err(error) => Err(error),
        }
    }

    async fn read(&mut self, spot: Spot) -> Result<Read, StepError> {
        let bytes = self.fetch(spot).await?;
        self.believe(spot, bytes).await
    }

    /// Whether stored bytes are a manifest to believe.
    async fn believe(&mut self, spot: Spot, bytes: Option<Vec<u8>>) -> Result<Read, StepError> {
        let Some(bytes) = bytes else { return Ok(Read::NotYet) };
        let envelope = match Envelope::read(&bytes) {
            Ok(envelope) => envelope,
            Err(error) => return Ok(Read::Useless(format!("malformed: {error}"))),
        };
        let id = envelope.key_id;
        let (key, revoked) = match self.keys.manifest_key(&self.store, &self.settings, id).await? {
            Belief::Yes(key) => (key, None),
            Belief::Revoked(key, at) => (key, Some(at)),
            Belief::Unknown => {
                self.warn(format!("{}: signed by key {id}, which is not published", self.manifest_key(spot)));
                return Ok(Read::NotYet);
            }
            Belief::Untrusted => return Ok(Read::Untrusted(id)),
        };
        let manifest = match Manifest::open(&bytes, std::slice::from_ref(&key)) {
            Ok(manifest) => manifest,
            Err(error) => return Ok(Read::Useless(format!("malformed: {error}"))),
        };
        if manifest.manifest != self.manifest_key(spot) {
            return Ok(Read::Useless(format!("moved: it belongs at {}", manifest.manifest)));
        }
        if revoked.is_some_and(|revoked| manifest.created_at >= revoked) {
            return Ok(Read::Useless(format!("revoked: signed by key {id} after it was revoked")));
        }
        Ok(Read::Manifest(Box::new((manifest, Sha256::of(&bytes), key))))
    }

    fn manifest_key(&self, (minute, unique): Spot) -> ManifestKey {
        let (home, region) = (self.settings.home.clone(), self.settings.region.clone());
        ManifestKey(Place { home, region, minute, unique })
    }

    fn spot(&self, name: &str) -> Option<Spot> {
        let ManifestKey(place) = name.parse().ok()?;
        let here = place.home == self.settings.home && place.region == self.settings.region;
        here.then_some((place.minute, place.unique))
    }

    fn region_prefix(&self) -> String {
        format!("{}Sidetrail-Manifest/{}/", self.settings.home, self.settings.region)
    }

    fn day_prefix(&self, day: Date) -> String {
        format!("{}{}/", self.region_prefix(), day.strftime("%Y/%m/%d"))
    }

    /// The first day that has a manifest.
    async fn earliest(&self) -> Result<Option<Timestamp>, StoreError> {
        let mut days = self.folders_below(self.region_prefix(), 3).await?.into_iter();
        let day = days.find_map(|prefix| {
            let day = prefix.strip_prefix(&self.region_prefix())?.strip_suffix('/')?;
            Date::strptime("%Y/%m/%d", day).ok()?.to_zoned(TimeZone::UTC).ok()
        });
        Ok(day.map(|day| day.timestamp()))
    }

    /// The prefixes of all folders so many levels below, in order.
    pub(super) async fn folders_below(&self, prefix: String, levels: u32) -> Result<Vec<String>, StoreError> {
        let mut prefixes = vec![prefix];
        for _ in 0..levels {
            let mut below = Vec::new();
            for prefix in &prefixes {
                let folders = self.store.folders(prefix).await?;
                below.extend(folders.into_iter().map(|folder| format!("{prefix}{folder}/")));
            }
            prefixes = below;
        }
        Ok(prefixes)
    }
}

fn expect(
    missing: &mut HashMap<Unique, (Id, u64)>,
    collector: Id,
    trail: &Trail,
    indices: impl Iterator<Item = u64>,
) {
    let places = |index| Names::of(collector, trail, index).map(move |unique| (unique, (collector, index)));
    missing.extend(indices.flat_map(places));
}

fn untrusted(id: KeyId) -> String {
    format!("untrusted: signed by key {id}")
}

fn remember(useless: &mut std::collections::HashSet<Unique>, unique: Unique) {
    if useless.len() >= MAX_USELESS {
        useless.clear();
    }
    useless.insert(unique);
}

fn back(from: Timestamp, length: SignedDuration) -> Timestamp {
    from.saturating_sub(length).unwrap_or(Timestamp::MIN)
}

/// The days from the one that `first` is in to the last that begins before `end`.
fn days(first: Timestamp, end: Timestamp) -> impl Iterator<Item = Date> {
    let first = TimeZone::UTC.to_datetime(first).date();
    let last = TimeZone::UTC.to_datetime(end.saturating_sub(1.nanosecond()).unwrap_or(end)).date();
    first.series(1.day()).take_while(move |day| *day <= last)
}
