//! A manager that cannot start says why, and what to do; what it finds and does not understand it leaves alone.

use std::fs;
use std::net::UdpSocket;

use grid_tests::{ChildProcess, Said};

use super::{Workspace, mishaps};

const UP: [&str; 3] = ["up", "--listen", "127.0.0.1:0"];

/// Starts a manager and ends it in good order: its state is there afterwards.
fn was_up(workspace: &Workspace) {
    running(workspace).stop();
}

struct Running(ChildProcess);

fn running(workspace: &Workspace) -> Running {
    let mut manager = ChildProcess::start("manager", &mut workspace.command(&UP));
    manager.wait_for("grid-host --manager");
    Running(manager)
}

impl Running {
    fn stop(mut self) {
        self.0.signal("TERM");
        assert_eq!(self.0.exit_code(), 0);
    }
}

fn in_use(workspace: &Workspace) -> Said {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    workspace.grid(&["up", "--listen", &taken.local_addr().unwrap().to_string()])
}

fn state_in_use(workspace: &Workspace) -> Said {
    let first = running(workspace);
    let second = workspace.grid(&UP);
    first.stop();
    second
}

fn state_that_is_a_file(workspace: &Workspace) -> Said {
    fs::write(workspace.path("state"), "not a folder").unwrap();
    workspace.grid(&[&UP[..], &["--state", "state"]].concat())
}

fn store_that_is_no_store(workspace: &Workspace) -> Said {
    was_up(workspace);
    fs::write(workspace.path("manager/manager.redb"), "a letter to my aunt").unwrap();
    workspace.grid(&UP)
}

fn key_that_others_can_read(workspace: &Workspace) -> Said {
    use std::os::unix::fs::PermissionsExt;
    was_up(workspace);
    fs::set_permissions(workspace.path("manager/manager.key"), fs::Permissions::from_mode(0o644)).unwrap();
    workspace.grid(&UP)
}

/// Writes over everything in the store but its head.
fn damaged_store(workspace: &Workspace) -> Said {
    was_up(workspace);
    let store = workspace.path("manager/manager.redb");
    let mut bytes = fs::read(&store).unwrap();
    bytes[4096..].fill(0xa5);
    fs::write(&store, bytes).unwrap();
    workspace.grid(&UP)
}

fn missing_key(workspace: &Workspace) -> Said {
    was_up(workspace);
    fs::remove_file(workspace.path("manager/manager.key")).unwrap();
    let said = workspace.grid(&UP);
    assert!(!workspace.path("manager/manager.key").exists(), "no other key takes its place: {said:?}");
    said
}

fn missing_store(workspace: &Workspace) -> Said {
    was_up(workspace);
    fs::remove_file(workspace.path("manager/manager.redb")).unwrap();
    let said = workspace.grid(&UP);
    assert!(!workspace.path("manager/manager.redb").exists(), "no empty store takes its place: {said:?}");
    said
}

fn emptied_store(workspace: &Workspace) -> Said {
    was_up(workspace);
    fs::write(workspace.path("manager/manager.redb"), "").unwrap();
    workspace.grid(&UP)
}

fn modules_alone(workspace: &Workspace) -> Said {
    was_up(workspace);
    for lost in ["manager.key", "manager.redb"] {
        fs::remove_file(workspace.path("manager").join(lost)).unwrap();
    }
    fs::write(workspace.path("manager/modules/00.wasm"), "").unwrap();
    workspace.grid(&UP)
}

/// Two managers of one home; `grid status` finds the younger, also when the older has ended.
fn older_manager_ends(workspace: &Workspace) -> Said {
    let older = running(workspace);
    let younger = [&UP[..], &["--state", "younger"]].concat();
    let mut younger = ChildProcess::start("younger", &mut workspace.command(&younger));
    younger.wait_for("grid-host --manager");
    older.stop();
    workspace.grid(&["status"])
}

mishaps! {
    a_port_in_use_is_said_and_named: in_use => 1, ["another program uses it", "127.0.0.1:", "help:", "--listen"];
    an_address_of_another_machine_is_said_to_be_none_of_this_one:
        |workspace| workspace.grid(&["up", "--listen", "192.0.2.1:4747"]) => 1, ["192.0.2.1:4747", "help:", "--listen"];
    a_state_folder_that_another_manager_has_is_said: state_in_use => 1, ["another process", "manager.redb", "help:", "--state"];
    a_state_folder_that_cannot_be_written_is_said:
        |workspace| workspace.grid(&[&UP[..], &["--state", "/sys/grid-state"]].concat()) => 1, ["/sys/grid-state", "help:", "--state"];
    a_file_in_place_of_the_state_folder_is_said: state_that_is_a_file => 1, ["state", "help:", "--state"];
    a_file_that_is_no_store_is_said: store_that_is_no_store => 1, ["manager.redb", "help:"];
    a_key_that_others_can_read_is_said: key_that_others_can_read => 1, ["manager.key", "chmod 600"];
    a_damaged_store_is_named: damaged_store => 1, ["manager.redb", "damaged", "help:"];
    a_store_without_its_key_begins_no_new_grid: missing_key => 1, ["manager.key", "missing", "help:"];
    a_key_without_its_store_begins_no_new_grid: missing_store => 1, ["manager.redb", "missing", "help:"];
    an_emptied_store_begins_no_new_grid: emptied_store => 1, ["manager.redb", "empty", "help:"];
    modules_without_store_and_key_begin_no_new_grid: modules_alone => 1, ["modules", "help:"];
    a_manager_that_ends_leaves_another_of_its_home_to_be_found: older_manager_ends => 0, ["manager"];
}
