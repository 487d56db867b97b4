//! Folders of state, and the keys in them.

use std::path::{Path, PathBuf};

use grid_disk::{DiskError, FolderFacts, KeyFileError, folder_facts, load_key};
use wasm_grid::view::CheckView;

use crate::command::doctor::patience::within_patience;
use crate::command::output::bytes;

/// A folder that is checked.
#[derive(Debug, Clone, Copy)]
struct StateFolder {
    check: &'static str,
    /// The key that is in it, if it is in use.
    key: &'static str,
    /// How to name another folder.
    elsewhere: &'static str,
}

const HOME: StateFolder = StateFolder {
    check: "home",
    key: "user.key",
    elsewhere: "name another folder: grid --home DIR, or GRID_HOME",
};

const HOST: StateFolder = StateFolder {
    check: "host-state",
    key: "host.key",
    elsewhere: "name another folder: grid-host --state DIR, or GRID_HOST_STATE",
};

const MANAGER: StateFolder = StateFolder {
    check: "manager-state",
    key: "manager.key",
    elsewhere: "name another folder: grid up --state DIR, or GRID_MANAGER_STATE",
};

/// Free bytes below which nothing useful can be kept: a manager's reserve, twice, and a module of the usual 18 MiB.
const FREE_BYTES_MIN: u64 = 64 << 20;

/// Free bytes below which there is a warning: a host keeps up to 8 GiB of modules.
const FREE_BYTES_AMPLE: u64 = 1 << 30;

/// Files that can still be made, likewise.
const FREE_FILES_MIN: u64 = 64;
const FREE_FILES_AMPLE: u64 = 1024;

/// Checks the home folder, and the state of a host and of a manager if there is some here.
pub(super) async fn check_all(home: &Path) -> Vec<CheckView> {
    let manager = named("GRID_MANAGER_STATE");
    let folders = [
        (HOME, home.to_path_buf(), true),
        (HOST, host_state(home), named("GRID_HOST_STATE").is_some()),
        (MANAGER, manager.clone().unwrap_or_else(|| home.join("manager")), manager.is_some()),
    ];
    let mut checks = Vec::new();
    for (folder, path, always) in folders {
        let asked = path.clone();
        let looked = within_patience(move || {
            let facts = folder_facts(&path);
            (always || facts.exists).then(|| (load_key(&path.join(folder.key)).err(), facts))
        });
        match looked.await {
            Some(Some((key, facts))) => checks.push(judge(folder, &facts, key.as_ref())),
            // No host and no manager keeps its state here.
            Some(None) => {}
            None => checks.push(
                CheckView::ok(folder.check, asked.display().to_string())
                    .fails("its disk does not answer", folder.elsewhere),
            ),
        }
    }
    checks
}

/// Where a host on this machine keeps its state.
pub(super) fn host_state(home: &Path) -> PathBuf {
    named("GRID_HOST_STATE").unwrap_or_else(|| home.join("host"))
}

/// The path in a variable of the environment.
fn named(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Judges a folder, and its key if that cannot be used.
fn judge(folder: StateFolder, facts: &FolderFacts, key: Option<&KeyFileError>) -> CheckView {
    let path = facts.path.display();
    let free = facts.free_bytes.map_or_else(String::new, |free| format!(", {} free", bytes(free)));
    let made = if facts.exists { "" } else { " (made when it is needed)" };
    let check = CheckView::ok(folder.check, format!("{path}{made}{free}"));
    if let Some(trouble) = &facts.trouble {
        return check.fails(trouble, folder.elsewhere);
    }
    if let Some(error) = key.filter(|error| !is_missing(error)) {
        return check.fails(error.to_string(), key_advice(error));
    }
    let too_full = "what is to be kept finds no room";
    if facts.free_bytes.is_some_and(|free| free < FREE_BYTES_MIN) {
        return check.fails(too_full, format!("make room on that disk, or {}", folder.elsewhere));
    }
    if facts.free_files.is_some_and(|free| free < FREE_FILES_MIN) {
        return check
            .fails("no more files can be made on that disk", format!("df -i {}", quoted(&facts.path)));
    }
    if !facts.is_own {
        let above = if facts.exists { "it" } else { "the folder above" };
        let advice = format!("sudo chown -R \"$(id -u)\" {}", quoted(&facts.path));
        let advice = if facts.exists { advice.as_str() } else { folder.elsewhere };
        return check
            .warning(format!("{above} belongs to another user, who can replace what is in it"), advice);
    }
    if let Some(mode) = facts.mode.filter(|mode| mode & 0o077 != 0) {
        return check.warning(
            format!("others can look into it (mode {mode:03o})"),
            format!("chmod 700 {}", quoted(&facts.path)),
        );
    }
    if facts.is_in_memory {
        return check.warning(
            "it is in memory: all of it is gone when the machine is switched off",
            folder.elsewhere,
        );
    }
    let is_short = facts.free_bytes.is_some_and(|free| free < FREE_BYTES_AMPLE);
    if is_short || facts.free_files.is_some_and(|free| free < FREE_FILES_AMPLE) {
        return check.warning("that disk is nearly full", "make room on that disk");
    }
    check
}

/// True if there is no such file, which is no fault: whoever needs the key makes it.
fn is_missing(error: &KeyFileError) -> bool {
    let KeyFileError::Disk(DiskError { error, .. }) = error else { return false };
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

fn key_advice(error: &KeyFileError) -> String {
    match error {
        KeyFileError::Open { path, .. } => format!("chmod 600 {}", quoted(path)),
        KeyFileError::Disk(DiskError { path, .. }) => format!("ls -l {}", quoted(path)),
        _ => "bring back a copy of it, or move it aside: its owner gets a new key then, and asks for a new ticket".to_owned(),
    }
}

/// A path as a shell takes it.
pub(super) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+,:@".contains(letter);
    if !text.is_empty() && text.chars().all(is_plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_grid::view::CheckState::{self, Fails, Ok as Well, Warning};

    /// The facts of a good folder, changed.
    fn facts(change: impl FnOnce(&mut FolderFacts)) -> (tempfile::TempDir, FolderFacts) {
        let folder = tempfile::tempdir().unwrap();
        let mut facts = folder_facts(folder.path());
        facts.free_bytes = Some(100 << 30);
        facts.free_files = None;
        facts.mode = Some(0o700);
        facts.is_in_memory = false;
        change(&mut facts);
        (folder, facts)
    }

    fn judged(change: impl FnOnce(&mut FolderFacts)) -> (CheckState, String) {
        let (_folder, facts) = facts(change);
        let check = judge(HOME, &facts, None);
        (check.state, check.advice.unwrap_or_default())
    }

    #[test]
    fn a_folder_is_well_if_it_is_private_ones_own_and_has_room() {
        assert_eq!(judged(|_| ()).0, Well);
        assert_eq!(judged(|facts| facts.trouble = Some("it is a file".to_owned())).0, Fails);
        assert_eq!(judged(|facts| facts.free_bytes = Some(1 << 20)).0, Fails);
        assert_eq!(judged(|facts| facts.free_bytes = Some(500 << 20)).0, Warning);
        assert_eq!(judged(|facts| facts.free_files = Some(3)).0, Fails);
        assert_eq!(judged(|facts| facts.free_files = Some(500)).0, Warning);
        assert_eq!(judged(|facts| facts.is_own = false).0, Warning);
        assert_eq!(judged(|facts| facts.is_in_memory = true).0, Warning);
        let (state, advice) = judged(|facts| facts.mode = Some(0o755));
        assert!(state == Warning && advice.starts_with("chmod 700 /"), "{advice}");
    }

    #[test]
    fn a_key_that_others_can_read_fails_and_one_that_is_missing_does_not() {
        let (folder, facts) = facts(|_| ());
        let path = folder.path().join("user.key");
        let missing = load_key(&path).unwrap_err();
        assert_eq!(judge(HOME, &facts, Some(&missing)).state, Well);
        let open = KeyFileError::Open { path: path.clone(), mode: 0o644 };
        let check = judge(HOME, &facts, Some(&open));
        assert_eq!((check.state, check.advice.unwrap()), (Fails, format!("chmod 600 {}", path.display())));
    }

    #[test]
    fn a_path_with_a_space_is_quoted_for_the_shell() {
        assert_eq!(quoted(Path::new("/srv/grid")), "/srv/grid");
        assert_eq!(quoted(Path::new("/my grid/it's")), r"'/my grid/it'\''s'");
    }
}
