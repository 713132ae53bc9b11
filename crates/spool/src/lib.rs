//! The durable queue of the Sidetrail collector.
//!
//! Frames of opaque bytes go in at one end and are on disk when they are acknowledged. Any number of readers follow at
//! their own pace, each with a durable cursor. What every cursor has passed is deleted.
//!
//! # Limits
//!
//! | what | limit |
//! |---|---|
//! | meta of a frame | [`MAX_META`], 64 KiB |
//! | body of a frame | [`MAX_BODY`], 16 MiB, or less by [`Options::with_max_body`] |
//! | segment | 16 MiB by default, [`MIN_SEGMENT_BYTES`] to [`MAX_SEGMENT_BYTES`]; larger only for a frame that is alone in it |
//! | snapshot of the ledger | [`MAX_SNAPSHOT`], 4 MiB, or less by [`Options::with_max_snapshot`] |
//! | all segment files | the budget of [`Options::new`], at least [`Options::min_budget`] |
//! | spare files | 2 by [`Options::with_spares`], part of the budget |
//! | cursors | [`MAX_CURSORS`], 1024, with [`MAX_CURSOR_PAYLOAD`], 64 KiB, each |
//! | queue of the committer | [`Bounds`], by bytes and by count |
//! | memory of start-up and of a reader | one frame, one snapshot and one chunk of 64 KiB, however long the log is |
//!
//! One process, one writer. Unix only, for reads and writes at an offset.
//!
//! # Layout on disk
//!
//! One directory, nothing below it. All integers are little-endian, all checksums CRC32C.
//!
//! | file | content |
//! |---|---|
//! | `00000000000000000042.seg` | segment 42 |
//! | `00000000000000000007.spare` | a released segment, kept to be overwritten |
//! | `main.cursor` | the cursor `main`; its format is in `cursor.rs` |
//! | `lock` | empty, locked by the writer |
//! | `*.tmp` | unfinished, removed at start-up |
//!
//! A segment is a header, a snapshot, and frames up to its end:
//!
//! ```text
//! segment  magic 8 | version 4 | snapshot length 4 | number 8 | end of the previous segment 8
//!          | checksum of the snapshot 4 | checksum of the header 4 | snapshot
//! frame    magic 4 | meta length 4 | body length 4 | durable 4 | checksum of meta and body 4
//!          | checksum of the header 4 | meta | body
//! ```
//!
//! Every checksum starts from the number of the segment, and that of a frame's header also from its offset. So bytes of
//! a file's former life never pass for frames, nor does a frame that lies in the body of another.
//!
//! *Snapshot* is the state of the [`Ledger`] as of the start of the segment. *End of the previous segment* is the one
//! truth about where that one ends, whatever the size of its file; 0 if there is none. *Durable* is up to where this
//! segment was synced when the frame was written.
//!
//! # Write
//!
//! [`Writer::append`] asks the ledger, finds room, writes the frame with one call, then tells the ledger. A write that
//! fails is cut off again and changes nothing. [`Writer::sync`] syncs the data of the file and moves the [`Watermark`].
//! A sync that fails stops the writer for good, see [`Writer`].
//!
//! A frame that would take the segment over its size starts the next one. In this order: cut the old file to its end,
//! sync it, write header and snapshot to a temporary file or a spare one, sync that, rename it, sync the directory. The
//! old segment takes nothing more once this has begun, also when it fails half-way and is tried again later.
//!
//! The budget is compared with the sizes of the files. They are listed at start-up, at each new segment and each
//! release, and between that only the last one changes. Spare files are given up before [`Error::Full`].
//!
//! The [`Committer`] does all this on one thread: it takes what is queued, appends it, syncs once, and answers. There is
//! no delay to gather a batch; batches form while the device is busy.
//!
//! # Read
//!
//! A [`Reader`] goes from frame to frame up to the watermark, never beyond. What it cannot read it names as [`Damage`]
//! and goes on behind it. If meta or body do not match their checksum, exactly that frame is lost; if the header does
//! not, everything up to the next good header. A segment that is missing or too short is named as well.
//!
//! # Delete
//!
//! [`Writer::release`] removes the segments that every [`Cursors`] entry has passed, oldest first, or renames them to
//! spare files, and syncs the directory. The last segment always stays, for its header carries the ledger. A crash in
//! between leaves segments that the next release finds again.
//!
//! # Recovery
//!
//! [`Writer::open`] reads the last segment: it restores the ledger from the snapshot, tells it each frame, and looks for
//! the end. A hole that was synced once is damage, and the log goes on behind it; any other hole is a torn tail, and
//! the log ends there. The frames' *durable* and the cursors tell which it is. Everything that was not proven durable is
//! written over itself and synced before the first append, since after a failed sync the system's cache may hold what
//! the device never got. A segment in which damage was passed takes nothing more: what is damaged in it is judged by
//! where it ends.
//!
//! What cannot be told: damage within the very last batch before a crash looks like a torn tail. It is cut, and
//! [`Recovery`] says how many whole frames went with it.
//!
//! If the header of the last segment is damaged, the ledger comes from the segment before, and a new segment is started
//! at once. If that one is gone or damaged as well, the spool does not open: going on would forget what it has.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//! use sidetrail_spool::{Item, Options, OsFs, Position, Writer};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path();
//! let (mut writer, _) = Writer::open(Arc::new(OsFs), dir, Options::new(1 << 30), ())?;
//! writer.append(b"meta", b"body")?;
//! writer.sync()?;
//!
//! let mut reader = writer.reader(Position::START);
//! while let Some(item) = reader.read()? {
//!     match item {
//!         Item::Frame(frame) => assert_eq!(frame.body, b"body"),
//!         Item::Damage(damage) => eprintln!("{damage}"),
//!     }
//! }
//! writer.cursors().set("main", reader.position(), b"")?;
//! writer.release()?;
//! # Ok(())
//! # }
//! ```

mod commit;
mod cursor;
mod directory;
pub mod durable;
mod error;
mod frame;
pub mod fs;
mod ledger;
mod options;
mod position;
mod reader;
mod recovery;
mod scan;
mod segment;
#[cfg(feature = "testing")]
pub mod testing;
mod watermark;
mod writer;

#[cfg(feature = "testing")]
pub use commit::Stepper;
pub use commit::{Bounds, Committer, Entry, Hooks, TryAppend};
pub use cursor::{Cursor, Cursors, MAX_CURSOR_PAYLOAD, MAX_CURSORS};
pub use error::{Error, Kind, Result};
pub use frame::{MAX_BODY, MAX_META};
pub use fs::OsFs;
pub use ledger::{Ledger, Verdict};
pub use options::Options;
pub use position::{ParsePositionError, Position};
pub use reader::{Damage, Frame, Item, Reader, Reason};
pub use recovery::{Cut, Recovery};
pub use segment::{MAX_SEGMENT_BYTES, MAX_SNAPSHOT, MIN_SEGMENT_BYTES};
pub use watermark::Watermark;
pub use writer::{Appended, Usage, Writer};
