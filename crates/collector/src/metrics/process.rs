//! The process as Linux sees it, under the names that every Prometheus client uses.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

type Float = Gauge<f64, AtomicU64>;
type Whole = Gauge<u64, AtomicU64>;

/// What the kernel counts in a second: fixed for user space on all of Linux's architectures.
const TICKS: f64 = 100.0;

#[derive(Debug)]
pub(super) struct Process {
    registry: Registry,
    cpu: Counter<f64, AtomicU64>,
    resident: Whole,
    virtual_memory: Whole,
    fds: Whole,
    threads: Whole,
}

impl Process {
    pub(super) fn new() -> Self {
        let mut registry = Registry::default();
        let (cpu, start) = (Counter::default(), Float::default());
        let [resident, virtual_memory, fds, max_fds, threads] = std::array::from_fn(|_| Whole::default());
        registry.register_with_unit("process_cpu", "CPU time of user and system", Unit::Seconds, cpu.clone());
        registry.register_with_unit(
            "process_start_time",
            "When the process began, since the Unix epoch",
            Unit::Seconds,
            start.clone(),
        );
        registry.register_with_unit(
            "process_resident_memory",
            "Resident memory",
            Unit::Bytes,
            resident.clone(),
        );
        registry.register_with_unit(
            "process_virtual_memory",
            "Virtual memory",
            Unit::Bytes,
            virtual_memory.clone(),
        );
        registry.register("process_open_fds", "Open file descriptors", fds.clone());
        registry.register("process_max_fds", "Open file descriptors that there may be", max_fds.clone());
        registry.register("process_threads", "Threads", threads.clone());
        max_fds.set(open_files_limit().unwrap_or(0));
        // The metrics are made when the process begins, and `/proc/stat` is not for everybody to read.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        start.set(now.as_secs_f64());
        Self { registry, cpu, resident, virtual_memory, fds, threads }
    }

    /// The registry with the values of now.
    pub(super) fn now(&self) -> &Registry {
        if let Some(stat) = Stat::read() {
            // What has its own count is followed, not added to.
            self.cpu.inner().store(stat.cpu_seconds.to_bits(), Ordering::Relaxed);
            self.threads.set(stat.threads);
        }
        if let Some((resident, virtual_memory)) = memory() {
            self.resident.set(resident);
            self.virtual_memory.set(virtual_memory);
        }
        if let Ok(fds) = fs::read_dir("/proc/self/fd") {
            self.fds.set(fds.count() as u64);
        }
        &self.registry
    }
}

/// Of `/proc/self/stat`, see proc_pid_stat(5).
struct Stat {
    cpu_seconds: f64,
    threads: u64,
}

impl Stat {
    fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The name of the program may hold anything, spaces and parentheses too. After it comes field 3.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self { cpu_seconds: (field(14)? + field(15)?) as f64 / TICKS, threads: field(20)? })
    }
}

/// Resident and virtual bytes.
fn memory() -> Option<(u64, u64)> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    Some((kib(&status, "VmRSS:")?, kib(&status, "VmSize:")?))
}

fn kib(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

fn open_files_limit() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_whatever_the_program_is_called() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 7 0 12345 1000 10";
        let stat = Stat::parse(stat).unwrap();
        assert_eq!((stat.cpu_seconds, stat.threads), (2.0, 7));
        assert!(Stat::parse("42 (a) S 1").is_none());
    }

    #[test]
    fn this_process_has_values() {
        let process = Process::new();
        let mut text = String::new();
        prometheus_client::encoding::text::encode_registry(&mut text, process.now()).unwrap();
        for name in [
            "process_resident_memory_bytes",
            "process_open_fds",
            "process_start_time_seconds",
            "process_threads",
        ] {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
            assert!(value.is_some_and(|value| value > 0.0), "{name} in {text}");
        }
        assert!(text.contains("process_cpu_seconds_total "), "{text}");
    }
}
