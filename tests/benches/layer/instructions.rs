//! Instructions per request, from two runs under valgrind that differ in their number of requests only.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, ensure};

const FEW: u64 = 500;
const MANY: u64 = 3_500;

/// For each case; `None` where valgrind is not installed.
pub(crate) fn count(cases: usize) -> Result<Option<Vec<f64>>> {
    let version = Command::new("valgrind").arg("--version").stdin(Stdio::null()).output();
    if !version.is_ok_and(|output| output.status.success()) {
        eprintln!("valgrind is not installed: instructions are not counted");
        return Ok(None);
    }
    eprintln!("counting instructions with valgrind …");
    let workers = thread::available_parallelism().map_or(1, usize::from).min(cases);
    let mut counts = vec![0.0; cases];
    // Counts do not depend on who else runs.
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers)
            .map(|worker| {
                scope.spawn(move || {
                    let mine = (worker..cases).step_by(workers);
                    mine.map(|case| Ok((case, per_request(case)?))).collect::<Result<Vec<_>>>()
                })
            })
            .collect();
        for worker in workers {
            for (case, count) in worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))?? {
                counts[case] = count;
            }
        }
        Ok(Some(counts))
    })
}

fn per_request(case: usize) -> Result<f64> {
    let (few, many) = (run(case, FEW)?, run(case, MANY)?);
    Ok((many as f64 - few as f64) / (MANY - FEW) as f64)
}

/// Instructions of the calling thread, which is the first one.
fn run(case: usize, requests: u64) -> Result<u64> {
    let directory = tempfile::tempdir()?;
    let out = directory.path().join("out");
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--separate-threads=yes"]);
    valgrind.arg(format!("--callgrind-out-file={}", out.display())).arg(std::env::current_exe()?);
    valgrind.arg(format!("--only={case}")).arg(format!("--requests={requests}"));
    let output = valgrind.stdin(Stdio::null()).output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "valgrind ended with {}: {complaint}", output.status);
    let text = fs::read_to_string(directory.path().join("out-01")).context("the first thread's counts")?;
    let totals = text.lines().find_map(|line| line.strip_prefix("totals: "));
    Ok(totals.context("no totals")?.trim().parse()?)
}
