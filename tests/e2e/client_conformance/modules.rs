//! Modules, and what does not exist.

use grid_protocol::job::BlobRef;
use grid_tests::echo;
use wasm_grid::{
    Client, Denial, DenialCode, DeploymentId, Digest, JobId, Publication, PublishError, Request, SecretKey,
    Subject, WorkerId,
};

use super::on_both_sides;
use crate::commands::COPY;

/// Signs a module with a key and a serial, and uploads it; the denial if it is refused.
async fn published(client: &Client, key: &SecretKey, serial: u64, wasm: &[u8]) -> Result<(), Denial> {
    let mut publication = Publication::new("echo", wasm).unwrap();
    publication.manifest.serial = serial;
    match client.upload_signed(publication.sign(key), wasm.to_vec().into()).await {
        Ok(info) => {
            assert_eq!((info.serial, info.publisher), (serial, key.public()));
            Ok(())
        }
        Err(PublishError::Denied(denial)) => Err(denial),
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_uploaded_module_is_known_by_its_digest_and_another_upload_raises_its_serial() {
    on_both_sides(async |client| {
        let first = client.upload("echo", echo()).await.unwrap();
        assert_eq!((first.digest, first.publisher), (Digest::of(&echo()), client.key()));
        assert_eq!((first.name.as_str(), first.length, first.known), ("echo", echo().len() as u64, false));
        let second = client.upload("echo", echo()).await.unwrap();
        assert!(second.digest == first.digest && second.serial > first.serial, "{first:?} {second:?}");
    })
    .await;
}

#[tokio::test]
async fn a_serial_is_raised_above_those_that_were_seen_of_its_name_and_no_other() {
    on_both_sides(async |client| {
        let mut publication = Publication::new("echo", &echo()).unwrap();
        publication.manifest.serial = 7;
        client.raise_serial(&mut publication, client.key()).await.unwrap();
        assert_eq!(publication.manifest.serial, 7, "none was seen");
        let seen = client.upload("echo", echo()).await.unwrap().serial;
        client.raise_serial(&mut publication, client.key()).await.unwrap();
        assert_eq!(publication.manifest.serial, seen + 1);
    })
    .await;
}

#[tokio::test]
async fn what_is_published_has_the_clients_signature_and_the_newest_serial_whatever_it_had_before() {
    on_both_sides(async |client| {
        let first = client.upload("echo", echo()).await.unwrap();
        let mut publication = Publication::new("echo", &echo()).unwrap();
        publication.manifest.serial = 1;
        let published = client.publish(publication.clone(), echo()).await.unwrap();
        assert_eq!((published.digest, published.publisher), (first.digest, client.key()));
        assert!(published.serial > first.serial, "{first:?} {published:?}");
        let refused = client.publish(publication, super::actor()).await;
        let Err(PublishError::Denied(denial)) = refused else { panic!("other bytes: {refused:?}") };
        assert_eq!(denial.code, DenialCode::ModuleRejected, "{denial:?}");
    })
    .await;
}

#[tokio::test]
async fn a_module_that_the_grid_does_not_run_is_refused_before_it_is_sent() {
    on_both_sides(async |client| {
        let refused = client.upload("nonsense", "no module").await;
        assert!(matches!(refused, Err(PublishError::Module(_))), "{refused:?}");
        let refused = client.upload_with_files("echo", echo()).await;
        assert!(matches!(refused, Err(PublishError::FilesWithoutCommand { .. })), "{refused:?}");
    })
    .await;
}

#[tokio::test]
async fn a_module_without_a_name_or_with_a_long_one_is_refused() {
    on_both_sides(async |client| {
        for name in ["", "a\nb", &"n".repeat(256)] {
            let refused = client.upload(name, echo()).await;
            let Err(PublishError::Denied(denial)) = refused else { panic!("{name:?}: {refused:?}") };
            assert_eq!(denial.code, DenialCode::ModuleRejected, "{name:?}: {denial:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_command_that_is_uploaded_with_files_answers_with_its_output_and_its_files() {
    on_both_sides(async |client| {
        let copy = client.upload_with_files("copy", wat::parse_str(COPY).unwrap()).await.unwrap();
        assert_eq!(copy.entry_point, "command with files");
        let outcome = client.map(copy.digest, ["one"]).await.unwrap().next().await.unwrap().unwrap();
        let answer = outcome.command_answer().unwrap();
        assert_eq!((&answer.stdout[..], &answer.files["copy"][..]), (&b"copied\n"[..], &b"one"[..]));
    })
    .await;
}

#[tokio::test]
async fn a_module_that_was_signed_elsewhere_is_taken_with_a_publishers_signature_and_the_newest_serial() {
    on_both_sides(async |client| {
        let publisher = SecretKey::from_seed(&[3; 32]);
        let code = async |serial, wasm: &[u8]| {
            published(client, &publisher, serial, wasm).await.map_err(|denial| denial.code)
        };
        assert_eq!(code(5, &echo()).await, Err(DenialCode::ModuleRejected), "a stranger signed it");
        let trust = Request::KeyTrust { key: publisher.public(), role: wasm_grid::Role::Publisher };
        client.request(trust).await.unwrap();
        assert_eq!(code(5, &echo()).await, Ok(()));
        assert_eq!(code(4, &super::actor()).await, Err(DenialCode::ModuleRejected), "it is an older release");
        assert_eq!(code(6, &super::actor()).await, Ok(()));
    })
    .await;
}

#[tokio::test]
async fn a_module_that_is_not_the_one_that_was_signed_is_refused() {
    on_both_sides(async |client| {
        let manifest = Publication::new("echo", &echo()).unwrap().sign(&SecretKey::from_seed(&[3; 32]));
        let trust = Request::KeyTrust {
            key: SecretKey::from_seed(&[3; 32]).public(),
            role: wasm_grid::Role::Publisher,
        };
        client.request(trust).await.unwrap();
        let unsigned = ("no manifest", Vec::new(), echo());
        let another = ("another module", manifest.clone(), super::actor());
        let shorter = ("another length", manifest, Vec::new());
        for (what, manifest, wasm) in [unsigned, another, shorter] {
            let refused = client.upload_signed(manifest, wasm.into()).await;
            let Err(PublishError::Denied(denial)) = refused else { panic!("{what}: {refused:?}") };
            assert_eq!(denial.code, DenialCode::ModuleRejected, "{what}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_request_about_what_does_not_exist_is_not_found() {
    on_both_sides(async |client| {
        let key = SecretKey::from_seed(&[9; 32]).public();
        let (worker, job, name) = (WorkerId::new(1, 77), JobId([7; 16]), "none".to_owned());
        let requests = [
            Request::TicketRemove { id: [7; 16] },
            Request::HostApprove { host: key },
            Request::HostDrain { host: key },
            Request::HostRemove { host: key },
            Request::KeyRevoke { key: SecretKey::from_seed(&[8; 32]).public() },
            Request::ModuleRemove { module: Digest::of(b"") },
            Request::WorkerStop { workers: vec![worker], grace_ms: 0 },
            Request::WorkerLogs { worker },
            Request::WorkerPing { worker },
            Request::DeploymentRemove { deployment: DeploymentId(77) },
            Request::JobShow { job },
            Request::Explain(Subject::Job(job)),
            Request::Explain(Subject::Task(job, 0)),
            Request::Explain(Subject::Host(key)),
            Request::MessageSend { worker, length: 0 },
            Request::PayloadKeep { job, payload: BlobRef::of(b"") },
        ];
        for request in requests {
            let denial = client.request(request.clone()).await.unwrap_err();
            assert_eq!(denial.code, DenialCode::NotFound, "{request:?}: {denial:?}");
        }
        let unseen = client.request(Request::ModuleSerial { publisher: key, name }).await;
        assert_eq!(unseen, Ok(wasm_grid::Reply::Serial { seen: 0 }));
    })
    .await;
}
