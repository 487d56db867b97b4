use super::*;

const NOW: u64 = 7;

fn tree(bytes_max: usize) -> Tree {
    Tree::new(Bytes::from_static(b"the input"), bytes_max, 1)
}

const NEW: How = How { create: true, exclusive: false, truncate: true, folder: false, write: true };

fn write(tree: &mut Tree, path: &str, bytes: &[u8]) -> Result<usize, Errno> {
    let id = tree.open(ROOT, path.as_bytes(), NEW, NOW)?;
    let written = tree.write(id, 0, bytes, NOW);
    tree.close(id);
    written
}

fn read(tree: &Tree, path: &str) -> Result<Vec<u8>, Errno> {
    tree.look_up(ROOT, path.as_bytes()).and_then(|id| tree.read(id, 0)).map(<[u8]>::to_vec)
}

#[test]
fn the_input_can_be_read_and_nothing_can_be_done_to_it() {
    let mut tree = tree(100);
    assert_eq!(read(&tree, "input").unwrap(), b"the input");
    let open = |tree: &mut Tree, how| tree.open(ROOT, b"input", how, NOW);
    assert_eq!(open(&mut tree, How { write: true, ..How::default() }), Err(Errno::Rofs));
    assert_eq!(open(&mut tree, NEW), Err(Errno::Rofs));
    let input = open(&mut tree, How::default()).unwrap();
    assert_eq!(tree.write(input, 0, b"x", NOW), Err(Errno::Rofs));
    assert_eq!(tree.resize(input, 0, NOW), Err(Errno::Rofs));
    assert_eq!(tree.set_times(input, Some(1), None, NOW), Err(Errno::Rofs));
    assert_eq!(tree.unlink(ROOT, b"input", NOW), Err(Errno::Rofs));
    assert_eq!(tree.rename((ROOT, b"input"), (ROOT, b"x"), NOW), Err(Errno::Rofs));
    write(&mut tree, "x", b"x").unwrap();
    assert_eq!(tree.rename((ROOT, b"x"), (ROOT, b"input"), NOW), Err(Errno::Rofs));
    assert_eq!(tree.remove_folder(ROOT, b"out", NOW), Err(Errno::Busy));
    assert_eq!(tree.rename((ROOT, b"out"), (ROOT, b"elsewhere"), NOW), Err(Errno::Busy));
    assert_eq!(read(&tree, "input").unwrap(), b"the input");
}

#[test]
fn no_path_leaves_the_root() {
    let mut tree = tree(100);
    for path in ["../input", "../../../input", "out/../../input", "./tmp/.././input", "out//..//input"] {
        assert_eq!(read(&tree, path).unwrap(), b"the input", "{path}");
    }
    assert_eq!(tree.look_up(ROOT, b".."), Ok(ROOT));
    assert_eq!(tree.look_up(ROOT, b"/input"), Err(Errno::Notcapable));
    assert_eq!(tree.look_up(ROOT, b"nothing/../input"), Err(Errno::Noent));
    assert_eq!(tree.look_up(ROOT, b"input/../input"), Err(Errno::Notdir));
    assert_eq!(tree.look_up(ROOT, b"input/"), Err(Errno::Notdir));
    assert_eq!(tree.look_up(ROOT, b""), Err(Errno::Noent));
    assert_eq!(tree.look_up(ROOT, b"a\0b"), Err(Errno::Inval));
    assert_eq!(tree.look_up(ROOT, b"\xff"), Err(Errno::Ilseq));
    assert_eq!(write(&mut tree, &"n".repeat(256), b""), Err(Errno::Nametoolong));
    assert_eq!(write(&mut tree, &"./".repeat(3000), b""), Err(Errno::Nametoolong));
}

#[test]
fn files_take_no_more_than_their_budget_and_give_back_what_is_removed() {
    let mut tree = tree(100);
    assert_eq!(write(&mut tree, "a", &[1; 60]), Ok(60));
    assert_eq!(write(&mut tree, "b", &[2; 60]), Ok(40), "as much as there is room for");
    assert_eq!(write(&mut tree, "c", &[3; 1]), Err(Errno::Nospc));
    // Another file in its place, the same file shorter, and one that is gone, all make room.
    assert_eq!(write(&mut tree, "a", &[1; 50]), Ok(50));
    assert_eq!(write(&mut tree, "c", &[3; 60]), Ok(10));
    tree.unlink(ROOT, b"b", NOW).unwrap();
    tree.rename((ROOT, b"c"), (ROOT, b"a"), NOW).unwrap();
    assert_eq!(write(&mut tree, "d", &[4; 100]), Ok(90));
    // What lies between the end and the place counts before it is made.
    let id = tree.look_up(ROOT, b"a").unwrap();
    assert_eq!(tree.write(id, u64::MAX - 1, b"x", NOW), Err(Errno::Nospc));
    assert_eq!(tree.resize(id, 1 << 60, NOW), Err(Errno::Nospc));
    assert_eq!(tree.allocate(id, 1 << 60, NOW), Err(Errno::Nospc));
    assert_eq!(tree.write(id, 5, b"x", NOW), Ok(1), "over what is there already");
    tree.resize(id, 0, NOW).unwrap();
    assert_eq!(tree.write(id, 8, b"xyz", NOW), Ok(2));
    assert_eq!(read(&tree, "a").unwrap(), b"\0\0\0\0\0\0\0\0xy");
}

#[test]
fn there_are_no_more_files_than_allowed_and_folders_are_no_deeper() {
    let mut tree = tree(100);
    let made =
        (0..10_000).take_while(|number| write(&mut tree, &format!("tmp/{number}"), b"").is_ok()).count();
    assert_eq!(made, ENTRIES_MAX - 4);
    assert_eq!(write(&mut tree, "one-more", b""), Err(Errno::Nospc));
    assert_eq!(tree.make_folder(ROOT, b"one-more", NOW), Err(Errno::Nospc));
    tree.unlink(ROOT, b"tmp/0", NOW).unwrap();
    assert_eq!(write(&mut tree, "one-more", b""), Ok(0));

    let mut tree = self::tree(100);
    let mut path = "d".to_owned();
    while tree.make_folder(ROOT, path.as_bytes(), NOW).is_ok() {
        path.push_str("/d");
    }
    assert_eq!(path.split('/').count(), DEPTH_MAX);
    // Nor do they become so by being moved.
    tree.make_folder(ROOT, b"e", NOW).unwrap();
    tree.make_folder(ROOT, b"e/f", NOW).unwrap();
    assert_eq!(tree.rename((ROOT, b"d"), (ROOT, b"e/f/d"), NOW), Err(Errno::Nametoolong));
    assert_eq!(tree.rename((ROOT, b"e"), (ROOT, b"e/f/e"), NOW), Err(Errno::Inval));
}

#[test]
fn what_is_open_lives_on_without_a_name_and_counts_until_it_is_closed() {
    let mut tree = tree(10);
    let id = tree.open(ROOT, b"a", NEW, NOW).unwrap();
    tree.write(id, 0, b"0123456789", NOW).unwrap();
    tree.unlink(ROOT, b"a", NOW).unwrap();
    assert_eq!(tree.look_up(ROOT, b"a"), Err(Errno::Noent));
    assert_eq!(tree.read(id, 5).unwrap(), b"56789");
    assert_eq!(write(&mut tree, "b", b"x"), Err(Errno::Nospc));
    tree.close(id);
    assert_eq!(write(&mut tree, "b", b"x"), Ok(1));
    // Nothing can be made in a folder that is gone.
    tree.make_folder(ROOT, b"d", NOW).unwrap();
    let folder = tree.open(ROOT, b"d", How { folder: true, ..How::default() }, NOW).unwrap();
    tree.remove_folder(ROOT, b"d", NOW).unwrap();
    assert_eq!(tree.open(folder, b"x", NEW, NOW), Err(Errno::Noent));
    assert_eq!(tree.rename((ROOT, b"b"), (folder, b"b"), NOW), Err(Errno::Noent));
    assert_eq!(tree.look_up(folder, b".."), Ok(ROOT));
    tree.close(folder);
}

#[test]
fn opening_does_what_its_flags_say() {
    let mut tree = tree(100);
    write(&mut tree, "a", b"old").unwrap();
    let open = |tree: &mut Tree, path: &str, how| tree.open(ROOT, path.as_bytes(), how, NOW);
    let exclusive = How { exclusive: true, ..NEW };
    assert_eq!(open(&mut tree, "a", exclusive), Err(Errno::Exist));
    assert_eq!(open(&mut tree, "out", NEW), Err(Errno::Isdir));
    assert_eq!(open(&mut tree, "new/", NEW), Err(Errno::Isdir));
    assert_eq!(open(&mut tree, "a", How { folder: true, ..How::default() }), Err(Errno::Notdir));
    assert_eq!(open(&mut tree, "none", How::default()), Err(Errno::Noent));
    assert_eq!(open(&mut tree, "none/a", NEW), Err(Errno::Noent));
    assert_eq!(open(&mut tree, "a/b", NEW), Err(Errno::Notdir));
    assert_eq!(read(&tree, "a").unwrap(), b"old");
    open(&mut tree, "a", How { truncate: true, write: true, ..How::default() }).unwrap();
    assert_eq!(read(&tree, "a").unwrap(), b"");
    assert!(open(&mut tree, "out", How { folder: true, write: true, ..How::default() }).is_ok());
}

#[test]
fn a_folder_is_listed_to_its_end_while_what_was_listed_is_removed() {
    let mut tree = tree(100);
    for name in ["c", "b", "a"] {
        write(&mut tree, &format!("tmp/{name}"), b"").unwrap();
    }
    let folder = tree.look_up(ROOT, b"tmp").unwrap();
    let (mut after, mut seen) = (0, Vec::new());
    while let Some((number, name, _)) = tree.list(folder, after).unwrap().first().copied() {
        after = number;
        seen.push(name.to_owned());
        tree.unlink(folder, seen.last().unwrap().as_bytes(), NOW).unwrap();
    }
    assert_eq!(seen, ["c", "b", "a"]);
    assert_eq!(tree.remove_folder(ROOT, b"tmp", NOW), Ok(()));
}

#[test]
fn renaming_replaces_what_may_be_replaced() {
    let mut tree = tree(100);
    write(&mut tree, "a", b"a").unwrap();
    write(&mut tree, "out/b", b"b").unwrap();
    assert_eq!(tree.rename((ROOT, b"a"), (ROOT, b"out"), NOW), Err(Errno::Busy));
    assert_eq!(tree.rename((ROOT, b"a"), (ROOT, b"tmp"), NOW), Err(Errno::Isdir));
    assert_eq!(tree.rename((ROOT, b"tmp"), (ROOT, b"a"), NOW), Err(Errno::Notdir));
    tree.rename((ROOT, b"a"), (ROOT, b"out/b"), NOW).unwrap();
    tree.rename((ROOT, b"out/b"), (ROOT, b"out/b"), NOW).unwrap();
    tree.make_folder(ROOT, b"out/deep", NOW).unwrap();
    tree.rename((ROOT, b"tmp"), (ROOT, b"out/deep"), NOW).unwrap();
    write(&mut tree, "out/deep/c", b"c").unwrap();
    assert_eq!(tree.remove_folder(ROOT, b"out/deep", NOW), Err(Errno::Notempty));
    let output = tree.into_output();
    let expected = [("b", b"a".to_vec()), ("deep/c", b"c".to_vec())];
    assert_eq!(output, expected.map(|(path, bytes)| (path.to_owned(), bytes)).into());
}
