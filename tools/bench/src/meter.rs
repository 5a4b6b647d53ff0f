//! What a step takes: time on the clock, time of the processors, memory.

use std::fs;
use std::io;
use std::ops::Add;
use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};

use crate::server::TICKS_PER_SECOND;

/// What was done and what it took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    pub bytes: u64,
    pub wall_s: f64,
    /// User and system, all threads.
    pub cpu_s: f64,
}

impl Cost {
    /// 10^6 bytes a second.
    pub fn mb_per_s(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.wall_s
    }

    /// 10^6 bytes for each second of one processor: what other load on the machine changes least.
    pub fn mb_per_cpu_s(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.cpu_s
    }

    /// CPU seconds for 2^30 bytes.
    pub fn cpu_s_per_gib(&self) -> f64 {
        self.cpu_s * f64::from(1 << 30) / self.bytes as f64
    }
}

impl Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            bytes: self.bytes + other.bytes,
            wall_s: self.wall_s + other.wall_s,
            cpu_s: self.cpu_s + other.cpu_s,
        }
    }
}

/// Work of this process, which says how many bytes it did.
pub fn own(work: impl FnOnce() -> io::Result<u64>) -> io::Result<Cost> {
    timed(|| Ok(own_cpu_s()), work)
}

/// Work of processes that this one started and waited for, theirs included.
pub fn children(work: impl FnOnce() -> io::Result<u64>) -> io::Result<Cost> {
    timed(children_cpu_s, work)
}

fn timed(cpu_s: impl Fn() -> io::Result<f64>, work: impl FnOnce() -> io::Result<u64>) -> io::Result<Cost> {
    let (start, cpu) = (Instant::now(), cpu_s()?);
    let bytes = work()?;
    Ok(Cost { bytes, wall_s: start.elapsed().as_secs_f64(), cpu_s: cpu_s()? - cpu })
}

fn own_cpu_s() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn children_cpu_s() -> io::Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    // proc(5): fields 16 and 17; the first one behind the name is number 3.
    let ticks = after_name.split_whitespace().skip(13).take(2).filter_map(|t| t.parse::<f64>().ok());
    Ok(ticks.sum::<f64>() / TICKS_PER_SECOND)
}

/// Forgets the most memory that this process has held; what it holds now, in KiB.
pub fn reset_peak() -> io::Result<u64> {
    // proc(5), clear_refs: 5 sets the peak to the present size.
    fs::write("/proc/self/clear_refs", "5")?;
    Ok(memory_kib("self", "VmRSS:"))
}

/// The memory that this process holds, in KiB.
pub fn resident_kib() -> u64 {
    memory_kib("self", "VmRSS:")
}

/// The most memory that a process has held, in KiB.
pub fn peak_kib(process: &str) -> u64 {
    memory_kib(process, "VmHWM:")
}

fn memory_kib(process: &str, key: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let value = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("0");
    value.split_whitespace().next().and_then(|kib| kib.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_of_this_process_and_of_its_children_is_told_apart() {
        let work = || {
            let mut sum = 0_u64;
            let end = own_cpu_s() + 0.2;
            while own_cpu_s() < end {
                sum = std::hint::black_box(sum + 1);
            }
            Ok(1_000_000)
        };
        let mine = own(work).unwrap();
        assert!(mine.cpu_s >= 0.2 && mine.wall_s >= 0.1);
        assert!(mine.mb_per_cpu_s() <= 5.0);
        let child = children(|| {
            let spin = "n=0; while [ $n -lt 100000 ]; do n=$((n+1)); done";
            std::process::Command::new("sh").args(["-c", spin]).status().map(|_| 1)
        });
        assert!(child.unwrap().cpu_s > 0.0);
    }

    #[test]
    fn a_peak_is_seen_and_forgotten() {
        let before = reset_peak().unwrap();
        drop(std::hint::black_box(vec![1_u8; 64 << 20]));
        assert!(peak_kib("self") >= before + (60 << 10));
        reset_peak().unwrap();
        assert!(peak_kib("self") < before + (60 << 10));
    }
}
