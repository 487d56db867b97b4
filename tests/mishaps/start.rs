//! A manager that cannot start says why, and what to do; what it finds and does not understand it leaves alone.

use std::fs;
use std::net::UdpSocket;

use grid_tests::{Process, Said};

use super::{Desk, mishaps};

const UP: [&str; 3] = ["up", "--listen", "127.0.0.1:0"];

/// Starts a manager and ends it in good order: its state is there afterwards.
fn was_up(desk: &Desk) {
    running(desk).stop();
}

struct Running(Process);

fn running(desk: &Desk) -> Running {
    let mut manager = Process::start("manager", &mut desk.command(&UP));
    manager.wait_for("grid-host --manager");
    Running(manager)
}

impl Running {
    fn stop(mut self) {
        self.0.signal("TERM");
        assert_eq!(self.0.exit_code(), 0);
    }
}

fn in_use(desk: &Desk) -> Said {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    desk.grid(&["up", "--listen", &taken.local_addr().unwrap().to_string()])
}

fn state_in_use(desk: &Desk) -> Said {
    let first = running(desk);
    let second = desk.grid(&UP);
    first.stop();
    second
}

fn state_that_is_a_file(desk: &Desk) -> Said {
    fs::write(desk.path("state"), "not a folder").unwrap();
    desk.grid(&[&UP[..], &["--state", "state"]].concat())
}

fn store_that_is_no_store(desk: &Desk) -> Said {
    was_up(desk);
    fs::write(desk.path("manager/manager.redb"), "a letter to my aunt").unwrap();
    desk.grid(&UP)
}

fn key_that_others_can_read(desk: &Desk) -> Said {
    use std::os::unix::fs::PermissionsExt;
    was_up(desk);
    fs::set_permissions(desk.path("manager/manager.key"), fs::Permissions::from_mode(0o644)).unwrap();
    desk.grid(&UP)
}

/// Writes over everything in the store but its head.
fn damaged_store(desk: &Desk) -> Said {
    was_up(desk);
    let store = desk.path("manager/manager.redb");
    let mut bytes = fs::read(&store).unwrap();
    bytes[4096..].fill(0xa5);
    fs::write(&store, bytes).unwrap();
    desk.grid(&UP)
}

fn missing_key(desk: &Desk) -> Said {
    was_up(desk);
    fs::remove_file(desk.path("manager/manager.key")).unwrap();
    let said = desk.grid(&UP);
    assert!(!desk.path("manager/manager.key").exists(), "no other key takes its place: {said:?}");
    said
}

fn missing_store(desk: &Desk) -> Said {
    was_up(desk);
    fs::remove_file(desk.path("manager/manager.redb")).unwrap();
    let said = desk.grid(&UP);
    assert!(!desk.path("manager/manager.redb").exists(), "no empty store takes its place: {said:?}");
    said
}

fn emptied_store(desk: &Desk) -> Said {
    was_up(desk);
    fs::write(desk.path("manager/manager.redb"), "").unwrap();
    desk.grid(&UP)
}

fn modules_alone(desk: &Desk) -> Said {
    was_up(desk);
    for lost in ["manager.key", "manager.redb"] {
        fs::remove_file(desk.path("manager").join(lost)).unwrap();
    }
    fs::write(desk.path("manager/modules/00.wasm"), "").unwrap();
    desk.grid(&UP)
}

/// Two managers of one home; `grid status` finds the younger, also when the older has ended.
fn older_manager_ends(desk: &Desk) -> Said {
    let older = running(desk);
    let younger = [&UP[..], &["--state", "younger"]].concat();
    let mut younger = Process::start("younger", &mut desk.command(&younger));
    younger.wait_for("grid-host --manager");
    older.stop();
    desk.grid(&["status"])
}

mishaps! {
    a_port_in_use_is_said_and_named: in_use => 1, ["another program uses it", "127.0.0.1:", "help:", "--listen"];
    an_address_of_another_machine_is_said_to_be_none_of_this_one:
        |desk| desk.grid(&["up", "--listen", "192.0.2.1:4747"]) => 1, ["192.0.2.1:4747", "help:", "--listen"];
    a_state_folder_that_another_manager_has_is_said: state_in_use => 1, ["another process", "manager.redb", "help:", "--state"];
    a_state_folder_that_cannot_be_written_is_said:
        |desk| desk.grid(&[&UP[..], &["--state", "/sys/grid-state"]].concat()) => 1, ["/sys/grid-state", "help:", "--state"];
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
