//! The machine: limits and figures that the system tells in text files (Linux). Where there is no such file a figure is missing.

use std::fs;
use std::path::Path;

/// What the system says of its limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct MachineFigures {
    pub(super) descriptors: Option<Limit>,
    pub(super) address_space: Option<Limit>,
    pub(super) mappings: Option<u64>,
    /// 2 if no more may be reserved than there is memory for.
    pub(super) overcommit: Option<u64>,
    pub(super) memory: MemoryFigures,
    /// Longest receive buffer that a socket may ask for, in bytes.
    pub(super) receive_buffer: Option<u64>,
}

/// A limit of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limit {
    /// What is in force; `u64::MAX` for no limit.
    pub(super) soft: u64,
    /// What this process may raise it to.
    pub(super) hard: u64,
}

/// Memory, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct MemoryFigures {
    /// What programs can still take from the machine.
    pub(super) available: Option<u64>,
    /// What they can still take of the share of this control group, a container for example.
    pub(super) left_of_share: Option<u64>,
}

impl MachineFigures {
    pub(super) fn read() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let number = |path: &str| text(path).trim().parse().ok();
        let limits = text("/proc/self/limits");
        Self {
            descriptors: limit(&limits, "Max open files"),
            address_space: limit(&limits, "Max address space"),
            mappings: number("/proc/sys/vm/max_map_count"),
            overcommit: number("/proc/sys/vm/overcommit_memory"),
            memory: MemoryFigures {
                available: available(&text("/proc/meminfo")),
                left_of_share: left_of_share(Path::new("/sys/fs/cgroup"), &text("/proc/self/cgroup")),
            },
            receive_buffer: number("/proc/sys/net/core/rmem_max"),
        }
    }
}

/// A limit in the text of `/proc/self/limits`: its name, then what is in force, then the most.
fn limit(limits: &str, name: &str) -> Option<Limit> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    let mut values = line.split_whitespace().map(|value| match value {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    });
    Some(Limit { soft: values.next()??, hard: values.next()?? })
}

/// The available memory in the text of `/proc/meminfo`, which counts in KiB.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// What is left of the memory of the control group that the text of `/proc/self/cgroup` names, and of those above it.
fn left_of_share(root: &Path, cgroup: &str) -> Option<u64> {
    let groups = cgroup.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let path = path.trim_start_matches('/');
        match controllers {
            // The second version has one tree for everything.
            "" => Some((root.to_path_buf(), path, "memory.max", "memory.current")),
            "memory" => Some((root.join("memory"), path, "memory.limit_in_bytes", "memory.usage_in_bytes")),
            _ => None,
        }
    });
    let left = groups.flat_map(|(tree, path, max, used)| {
        let number = |path: &Path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
        let above: Vec<_> = Path::new(path).ancestors().map(|group| tree.join(group)).collect();
        above.into_iter().filter_map(move |group| {
            // A group without a limit says `max`, which is no number.
            Some(number(&group.join(max))?.saturating_sub(number(&group.join(used)).unwrap_or_default()))
        })
    });
    // The first version writes a number beyond all memory for no limit.
    left.min().filter(|left| *left < NO_LIMIT)
}

/// Above it a number of bytes is no limit: 1 PiB.
const NO_LIMIT: u64 = 1 << 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_by_their_names() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max cpu time              unlimited            unlimited            seconds   \n\
                    Max open files            1024                 524288               files     \n\
                    Max address space         unlimited            unlimited            bytes     \n";
        assert_eq!(limit(text, "Max open files"), Some(Limit { soft: 1024, hard: 524_288 }));
        assert_eq!(limit(text, "Max address space"), Some(Limit { soft: u64::MAX, hard: u64::MAX }));
        assert_eq!(limit(text, "Max locked memory"), None);
        assert_eq!(limit("Max open files", "Max open files"), None);
    }

    #[test]
    fn available_memory_is_in_bytes() {
        let text = "MemTotal:        8010000 kB\nMemFree:  1 kB\nMemAvailable:    4000 kB\n";
        assert_eq!(available(text), Some(4_096_000));
        assert_eq!(available("MemTotal: 1 kB\n"), None);
    }

    #[test]
    fn the_narrowest_control_group_from_this_one_up_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("a/memory.max", "1000\n");
        write("a/memory.current", "300\n");
        write("a/b/memory.max", "max\n");
        assert_eq!(left_of_share(root.path(), "0::/a/b\n"), Some(700));
        assert_eq!(left_of_share(root.path(), "0::/\n"), None);
        write("memory/c/memory.limit_in_bytes", "9223372036854771712\n");
        write("memory/d/memory.limit_in_bytes", "500\n");
        assert_eq!(left_of_share(root.path(), "5:cpu,cpuacct:/c\n4:memory:/c\n"), None);
        assert_eq!(left_of_share(root.path(), "4:memory:/d\n"), Some(500));
    }
}
