use std::path::Path;

use grid_net::{Alpn, code};
use grid_protocol::key::SecretKey;
use grid_protocol::manifest::FilesAsked;

use super::*;
use crate::sandbox::{GuestKind, Policy};

/// Longer than what is inspected on the calling thread, if `long`.
fn module(long: bool) -> Bytes {
    let text = include_str!("../../../modules/echo.wat");
    let mut wasm = wat::parse_str(text).unwrap();
    if long {
        // A custom section without a name, and its length in LEB128.
        wasm.extend([0, 0x80, 0xe0, 0x12]);
        wasm.extend(vec![0; 300 << 10]);
    }
    wasm.into()
}

/// Seeds of two publishers.
const ONE: u8 = 1;
const OTHER: u8 = 4;

fn publisher(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn signed(wasm: &[u8], by: u8) -> SignedManifest {
    let manifest = Manifest {
        name: "echo".into(),
        serial: 1,
        version: String::new(),
        digest: Digest::of(wasm),
        length: wasm.len() as u64,
        abi: 1,
        limits: LimitsAsked::default(),
        not_before: 0,
        expires: 0,
        files: FilesAsked::Nothing,
    };
    SignedManifest::sign(&manifest, &publisher(by))
}

/// A loader that trusts one publisher.
fn loader(folder: &Path, trusts: u8) -> ModuleLoader {
    let trust =
        HostTrust::open(folder, &[publisher(trusts).public()], grid_disk::Machine::default()).unwrap();
    let policy = Policy { workers_max: 1, compute_threads: 1, ..Policy::default() };
    let sandbox = Sandbox::in_process(policy, 1).unwrap();
    let modules = ModuleCache::open(&folder.join("modules"), 1 << 30).unwrap();
    let compiled = CompiledCache::open(&folder.join("compiled"), 1 << 30).unwrap();
    ModuleLoader::new(
        Some(modules),
        compiled,
        Compiler::InProcess,
        None,
        Arc::new(trust),
        sandbox,
        Arc::default(),
    )
}

/// Waits until the module's code is on disk: until then the loader has the claim to it.
async fn code_is_kept(loader: &ModuleLoader, module: Digest) {
    drop(loader.compiled.claim(&module).await);
}

/// A connection to a manager that has one module, signed by a publisher.
fn manager(wasm: &Bytes, by: u8) -> watch::Sender<Option<Conn>> {
    let [host, manager] = [2, 3].map(|seed| SecretKey::from_seed(&[seed; 32]).public());
    let (ours, theirs) = Conn::local_pair(host, manager, Alpn::Host);
    let (wasm, manifest) = (wasm.clone(), signed(wasm, by).to_bytes());
    tokio::spawn(async move {
        while let Ok((mut send, mut recv)) = theirs.accept_bi().await {
            recv.read_frame(CONTROL_FRAME_BYTES_MAX).await.unwrap();
            let found = ModuleOffered::Found { manifest: manifest.clone(), length: wasm.len() as u64 };
            send.write_frame(&found.to_body(), CONTROL_FRAME_BYTES_MAX).await.unwrap();
            // A host that does not trust the publisher reads no further.
            let _ = send.write_chunk(wasm.clone()).await;
            send.finish().await;
        }
        theirs.close(code::DONE, "");
    });
    watch::Sender::new(Some(ours))
}

#[tokio::test]
async fn a_module_is_inspected_once_whether_it_is_fetched_or_found_on_disk_and_not_again_while_it_is_loaded()
{
    for long in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let wasm = module(long);
        let digest = Digest::of(&wasm);
        let conns = manager(&wasm, ONE);
        // How often a loader has inspected the module when it has been asked for it by several at the same time, and
        // again; and the bytes that it has fetched.
        let inspected = async || {
            let loader = loader(folder.path(), ONE);
            let load =
                async || loader.program(digest, GuestKind::Worker, &mut conns.subscribe()).await.unwrap().2;
            let (first, second, third) = tokio::join!(load(), load(), load());
            assert_eq!(load().await, None);
            code_is_kept(&loader, digest).await;
            let fetched = [first, second, third].into_iter().flatten().map(|stats| stats.fetched_bytes);
            (loader.inspector.count(), fetched.sum::<u64>())
        };
        assert_eq!(inspected().await, (1, wasm.len() as u64), "fetched and compiled");
        assert_eq!(inspected().await, (1, 0), "found on disk");
        std::fs::remove_dir_all(folder.path().join("compiled")).unwrap();
        assert_eq!(inspected().await, (1, 0), "found on disk and compiled");
        let damaged = folder.path().join("modules").join(format!("{digest}.wasm"));
        assert!(damaged.exists());
        std::fs::write(damaged, b"damaged").unwrap();
        assert_eq!(inspected().await, (1, wasm.len() as u64), "damaged, and fetched again");
    }
}

#[tokio::test]
async fn a_module_on_disk_whose_publisher_is_not_trusted_runs_if_the_manager_has_it_from_one_who_is() {
    let folder = tempfile::tempdir().unwrap();
    let wasm = module(false);
    let digest = Digest::of(&wasm);
    let load = async |trusts: u8, conns: &watch::Sender<Option<Conn>>| {
        let loaded =
            loader(folder.path(), trusts).program(digest, GuestKind::Worker, &mut conns.subscribe()).await;
        loaded.map(|(_, _, stats)| stats.map(|stats| stats.fetched_bytes))
    };
    let (of_one, of_other) = (manager(&wasm, ONE), manager(&wasm, OTHER));
    assert_eq!(load(ONE, &of_one).await.unwrap(), Some(wasm.len() as u64));
    let refused = load(OTHER, &of_one).await.unwrap_err();
    assert!(
        matches!(refused, ModuleError::Refused(ManifestRefusal::UntrustedPublisher { .. })),
        "the manager has no other signature: {refused}"
    );
    assert_eq!(load(OTHER, &of_other).await.unwrap(), Some(wasm.len() as u64), "signed by another publisher");
    assert_eq!(load(OTHER, &of_other).await.unwrap(), Some(0), "and kept so");
}

#[tokio::test]
async fn a_module_runs_before_its_code_is_on_disk_and_is_not_compiled_by_others_until_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let wasm = module(false);
    let digest = Digest::of(&wasm);
    let conns = manager(&wasm, ONE);
    let load = async |loader: &ModuleLoader| {
        loader.program(digest, GuestKind::Worker, &mut conns.subscribe()).await.unwrap().2.unwrap().compile_us
    };
    let [first, other] = [(); 2].map(|()| loader(folder.path(), ONE));
    let turns = || first.turns.of(wasm.len()).available_permits();
    let all = turns();
    let gate = first.keep_gate.clone().lock_owned().await;
    assert!(load(&first).await.is_some());
    assert_eq!(
        (turns(), first.compiled.try_claim(&digest).is_some()),
        (all - 1, false),
        "it is not kept yet"
    );
    let mut waits = Box::pin(load(&other));
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut waits).await.is_err(), "it compiles, too");
    drop(gate);
    assert_eq!(waits.await, None);
    code_is_kept(&first, digest).await;
    assert_eq!(turns(), all, "the turn is given back");
}

#[tokio::test]
async fn no_more_modules_are_compiled_at_once_than_there_are_turns_but_short_ones_wait_for_no_long_ones() {
    let folder = tempfile::tempdir().unwrap();
    let [short, long] = [false, true].map(module);
    let loader = loader(folder.path(), ONE);
    let turns = loader.turns.of(long.len());
    let taken = u32::try_from(turns.available_permits()).unwrap();
    let taken = turns.clone().acquire_many_owned(taken).await.unwrap();
    let load = async |wasm: &Bytes| {
        let conns = manager(wasm, ONE);
        let loaded = loader.program(Digest::of(wasm), GuestKind::Worker, &mut conns.subscribe()).await;
        assert!(loaded.unwrap().2.unwrap().compile_us.is_some());
    };
    let misses = || loader.metrics.compiled_code_misses();
    let mut waits = Box::pin(load(&long));
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut waits).await.is_err());
    assert_eq!(misses(), 0, "it has a turn");
    load(&short).await;
    assert_eq!(misses(), 1);
    drop(taken);
    waits.await;
}

#[tokio::test]
async fn a_publisher_who_is_revoked_while_the_module_waits_to_be_compiled_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let wasm = module(true);
    let loader = loader(folder.path(), ONE);
    let turns = loader.turns.of(wasm.len());
    let taken = u32::try_from(turns.available_permits()).unwrap();
    let taken = turns.clone().acquire_many_owned(taken).await.unwrap();
    let conns = manager(&wasm, ONE);
    let mut conns = conns.subscribe();
    let mut waits = Box::pin(loader.program(Digest::of(&wasm), GuestKind::Worker, &mut conns));
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut waits).await.is_err());
    loader.trust.hear(Vec::new(), vec![publisher(ONE).public()]);
    drop(taken);
    let refused = waits.await.unwrap_err();
    assert!(
        matches!(refused, ModuleError::Refused(ManifestRefusal::RevokedPublisher { .. })),
        "it is compiled, and would run: {refused}"
    );
}

#[tokio::test]
async fn functions_of_a_component_that_nothing_calls_are_not_compiled() {
    let text = include_str!("../../../modules/hostile/component-trap.wat");
    let handle = r#"(func (export "handle")"#;
    let store = |place: u32| format!("(i32.store (i32.const {}) (i32.const 1000))", place * 4);
    let long: String = (0..10_000).map(store).collect();
    let with = |body: &str| {
        let text = text.replace(handle, &format!("(func $long {long}) {handle}"));
        Bytes::from(wat::parse_str(text.replace("unreachable", body)).unwrap())
    };
    let code_bytes = async |wasm: Bytes| {
        let folder = tempfile::tempdir().unwrap();
        let loader = loader(folder.path(), ONE);
        let (digest, conns) = (Digest::of(&wasm), manager(&wasm, ONE));
        loader.program(digest, GuestKind::Worker, &mut conns.subscribe()).await.unwrap();
        code_is_kept(&loader, digest).await;
        loader.compiled.folder().bytes()
    };
    let (called, uncalled) = (code_bytes(with("call $long")).await, code_bytes(with("nop")).await);
    assert!(uncalled + 50_000 < called, "{uncalled} bytes, and {called} if it is called");
}
