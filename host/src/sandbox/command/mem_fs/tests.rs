use super::*;

const NOW: u64 = 7;

fn fs(bytes_max: usize) -> MemFs {
    MemFs::new(Bytes::from_static(b"the input"), bytes_max, 1)
}

const NEW: How = How { create: true, exclusive: false, truncate: true, folder: false, write: true };

fn write(fs: &mut MemFs, path: &str, bytes: &[u8]) -> Result<usize, Errno> {
    let id = fs.open(ROOT, path.as_bytes(), NEW, NOW)?;
    let written = fs.write(id, 0, bytes, NOW);
    fs.close(id);
    written
}

fn read(fs: &MemFs, path: &str) -> Result<Vec<u8>, Errno> {
    fs.look_up(ROOT, path.as_bytes()).and_then(|id| fs.read(id, 0)).map(<[u8]>::to_vec)
}

#[test]
fn the_input_can_be_read_and_nothing_can_be_done_to_it() {
    let mut fs = fs(100);
    assert_eq!(read(&fs, "input").unwrap(), b"the input");
    let open = |fs: &mut MemFs, how| fs.open(ROOT, b"input", how, NOW);
    assert_eq!(open(&mut fs, How { write: true, ..How::default() }), Err(Errno::Rofs));
    assert_eq!(open(&mut fs, NEW), Err(Errno::Rofs));
    let input = open(&mut fs, How::default()).unwrap();
    assert_eq!(fs.write(input, 0, b"x", NOW), Err(Errno::Rofs));
    assert_eq!(fs.resize(input, 0, NOW), Err(Errno::Rofs));
    assert_eq!(fs.set_times(input, Some(1), None, NOW), Err(Errno::Rofs));
    assert_eq!(fs.unlink(ROOT, b"input", NOW), Err(Errno::Rofs));
    assert_eq!(fs.rename((ROOT, b"input"), (ROOT, b"x"), NOW), Err(Errno::Rofs));
    write(&mut fs, "x", b"x").unwrap();
    assert_eq!(fs.rename((ROOT, b"x"), (ROOT, b"input"), NOW), Err(Errno::Rofs));
    assert_eq!(fs.remove_folder(ROOT, b"out", NOW), Err(Errno::Busy));
    assert_eq!(fs.rename((ROOT, b"out"), (ROOT, b"elsewhere"), NOW), Err(Errno::Busy));
    assert_eq!(read(&fs, "input").unwrap(), b"the input");
}

#[test]
fn no_path_leaves_the_root() {
    let mut fs = fs(100);
    for path in ["../input", "../../../input", "out/../../input", "./tmp/.././input", "out//..//input"] {
        assert_eq!(read(&fs, path).unwrap(), b"the input", "{path}");
    }
    assert_eq!(fs.look_up(ROOT, b".."), Ok(ROOT));
    assert_eq!(fs.look_up(ROOT, b"/input"), Err(Errno::Notcapable));
    assert_eq!(fs.look_up(ROOT, b"nothing/../input"), Err(Errno::Noent));
    assert_eq!(fs.look_up(ROOT, b"input/../input"), Err(Errno::Notdir));
    assert_eq!(fs.look_up(ROOT, b"input/"), Err(Errno::Notdir));
    assert_eq!(fs.look_up(ROOT, b""), Err(Errno::Noent));
    assert_eq!(fs.look_up(ROOT, b"a\0b"), Err(Errno::Inval));
    assert_eq!(fs.look_up(ROOT, b"\xff"), Err(Errno::Ilseq));
    assert_eq!(write(&mut fs, &"n".repeat(256), b""), Err(Errno::Nametoolong));
    assert_eq!(write(&mut fs, &"./".repeat(3000), b""), Err(Errno::Nametoolong));
}

#[test]
fn files_take_no_more_than_their_budget_and_give_back_what_is_removed() {
    let mut fs = fs(100);
    assert_eq!(write(&mut fs, "a", &[1; 60]), Ok(60));
    assert_eq!(write(&mut fs, "b", &[2; 60]), Ok(40), "as much as there is room for");
    assert_eq!(write(&mut fs, "c", &[3; 1]), Err(Errno::Nospc));
    // Replacing, truncating and removing a file all make room.
    assert_eq!(write(&mut fs, "a", &[1; 50]), Ok(50));
    assert_eq!(write(&mut fs, "c", &[3; 60]), Ok(10));
    fs.unlink(ROOT, b"b", NOW).unwrap();
    fs.rename((ROOT, b"c"), (ROOT, b"a"), NOW).unwrap();
    assert_eq!(write(&mut fs, "d", &[4; 100]), Ok(90));
    // The gap between the end of the file and the position counts before it is filled.
    let id = fs.look_up(ROOT, b"a").unwrap();
    assert_eq!(fs.write(id, u64::MAX - 1, b"x", NOW), Err(Errno::Nospc));
    assert_eq!(fs.resize(id, 1 << 60, NOW), Err(Errno::Nospc));
    assert_eq!(fs.allocate(id, 1 << 60, NOW), Err(Errno::Nospc));
    assert_eq!(fs.write(id, 5, b"x", NOW), Ok(1), "over what is there already");
    fs.resize(id, 0, NOW).unwrap();
    assert_eq!(fs.write(id, 8, b"xyz", NOW), Ok(2));
    assert_eq!(read(&fs, "a").unwrap(), b"\0\0\0\0\0\0\0\0xy");
}

#[test]
fn there_are_no_more_files_than_allowed_and_folders_are_no_deeper() {
    let mut fs = fs(100);
    let made = (0..10_000).take_while(|number| write(&mut fs, &format!("tmp/{number}"), b"").is_ok()).count();
    assert_eq!(made, ENTRIES_MAX - 4);
    assert_eq!(write(&mut fs, "one-more", b""), Err(Errno::Nospc));
    assert_eq!(fs.make_folder(ROOT, b"one-more", NOW), Err(Errno::Nospc));
    fs.unlink(ROOT, b"tmp/0", NOW).unwrap();
    assert_eq!(write(&mut fs, "one-more", b""), Ok(0));

    let mut fs = self::fs(100);
    let mut path = "d".to_owned();
    while fs.make_folder(ROOT, path.as_bytes(), NOW).is_ok() {
        path.push_str("/d");
    }
    assert_eq!(path.split('/').count(), DEPTH_MAX);
    // Nor can they get deeper by being moved.
    fs.make_folder(ROOT, b"e", NOW).unwrap();
    fs.make_folder(ROOT, b"e/f", NOW).unwrap();
    assert_eq!(fs.rename((ROOT, b"d"), (ROOT, b"e/f/d"), NOW), Err(Errno::Nametoolong));
    assert_eq!(fs.rename((ROOT, b"e"), (ROOT, b"e/f/e"), NOW), Err(Errno::Inval));
}

#[test]
fn what_is_open_lives_on_without_a_name_and_counts_until_it_is_closed() {
    let mut fs = fs(10);
    let id = fs.open(ROOT, b"a", NEW, NOW).unwrap();
    fs.write(id, 0, b"0123456789", NOW).unwrap();
    fs.unlink(ROOT, b"a", NOW).unwrap();
    assert_eq!(fs.look_up(ROOT, b"a"), Err(Errno::Noent));
    assert_eq!(fs.read(id, 5).unwrap(), b"56789");
    assert_eq!(write(&mut fs, "b", b"x"), Err(Errno::Nospc));
    fs.close(id);
    assert_eq!(write(&mut fs, "b", b"x"), Ok(1));
    // Nothing can be made in a removed folder.
    fs.make_folder(ROOT, b"d", NOW).unwrap();
    let folder = fs.open(ROOT, b"d", How { folder: true, ..How::default() }, NOW).unwrap();
    fs.remove_folder(ROOT, b"d", NOW).unwrap();
    assert_eq!(fs.open(folder, b"x", NEW, NOW), Err(Errno::Noent));
    assert_eq!(fs.rename((ROOT, b"b"), (folder, b"b"), NOW), Err(Errno::Noent));
    assert_eq!(fs.look_up(folder, b".."), Ok(ROOT));
    fs.close(folder);
}

#[test]
fn opening_does_what_its_flags_say() {
    let mut fs = fs(100);
    write(&mut fs, "a", b"old").unwrap();
    let open = |fs: &mut MemFs, path: &str, how| fs.open(ROOT, path.as_bytes(), how, NOW);
    let exclusive = How { exclusive: true, ..NEW };
    assert_eq!(open(&mut fs, "a", exclusive), Err(Errno::Exist));
    assert_eq!(open(&mut fs, "out", NEW), Err(Errno::Isdir));
    assert_eq!(open(&mut fs, "new/", NEW), Err(Errno::Isdir));
    assert_eq!(open(&mut fs, "a", How { folder: true, ..How::default() }), Err(Errno::Notdir));
    assert_eq!(open(&mut fs, "none", How::default()), Err(Errno::Noent));
    assert_eq!(open(&mut fs, "none/a", NEW), Err(Errno::Noent));
    assert_eq!(open(&mut fs, "a/b", NEW), Err(Errno::Notdir));
    assert_eq!(read(&fs, "a").unwrap(), b"old");
    open(&mut fs, "a", How { truncate: true, write: true, ..How::default() }).unwrap();
    assert_eq!(read(&fs, "a").unwrap(), b"");
    assert!(open(&mut fs, "out", How { folder: true, write: true, ..How::default() }).is_ok());
}

#[test]
fn a_folder_is_listed_to_its_end_while_what_was_listed_is_removed() {
    let mut fs = fs(100);
    for name in ["c", "b", "a"] {
        write(&mut fs, &format!("tmp/{name}"), b"").unwrap();
    }
    let folder = fs.look_up(ROOT, b"tmp").unwrap();
    let (mut after, mut seen) = (0, Vec::new());
    while let Some((number, name, _)) = fs.list(folder, after).unwrap().first().copied() {
        after = number;
        seen.push(name.to_owned());
        fs.unlink(folder, seen.last().unwrap().as_bytes(), NOW).unwrap();
    }
    assert_eq!(seen, ["c", "b", "a"]);
    assert_eq!(fs.remove_folder(ROOT, b"tmp", NOW), Ok(()));
}

#[test]
fn renaming_replaces_what_may_be_replaced() {
    let mut fs = fs(100);
    write(&mut fs, "a", b"a").unwrap();
    write(&mut fs, "out/b", b"b").unwrap();
    assert_eq!(fs.rename((ROOT, b"a"), (ROOT, b"out"), NOW), Err(Errno::Busy));
    assert_eq!(fs.rename((ROOT, b"a"), (ROOT, b"tmp"), NOW), Err(Errno::Isdir));
    assert_eq!(fs.rename((ROOT, b"tmp"), (ROOT, b"a"), NOW), Err(Errno::Notdir));
    fs.rename((ROOT, b"a"), (ROOT, b"out/b"), NOW).unwrap();
    fs.rename((ROOT, b"out/b"), (ROOT, b"out/b"), NOW).unwrap();
    fs.make_folder(ROOT, b"out/deep", NOW).unwrap();
    fs.rename((ROOT, b"tmp"), (ROOT, b"out/deep"), NOW).unwrap();
    write(&mut fs, "out/deep/c", b"c").unwrap();
    assert_eq!(fs.remove_folder(ROOT, b"out/deep", NOW), Err(Errno::Notempty));
    let output = fs.into_output();
    let expected = [("b", b"a".to_vec()), ("deep/c", b"c".to_vec())];
    assert_eq!(output, expected.map(|(path, bytes)| (path.to_owned(), bytes)).into());
}
