//! Requests about modules: upload and removal.

use std::sync::Arc;

use bytes::Bytes;
use grid_protocol::activity::GridEvent;
use grid_protocol::client::{Denial, DenialCode, Reply};
use grid_protocol::role::Role;

use crate::api::denials::{deny, fault, found};
use crate::asker::Asker;
use crate::catalog::{UploadError, VerifiedUpload};
use crate::context::Context;

pub(super) async fn upload(
    context: &Arc<Context>,
    asker: Asker,
    manifest: Vec<u8>,
    wasm: Bytes,
) -> Result<Reply, Denial> {
    let now = context.unix_now();
    let replaces = asker.roles(context).has(Role::Admin);
    let added = match read_module(context, manifest, wasm, now).await {
        Ok(brought) => context.catalog(move |catalog| catalog.add_module(brought, now, replaces)).await,
        Err(error) => Err(error),
    };
    if let Ok(info) = added.as_ref() {
        let (module, name, publisher) = (info.digest, info.name.clone(), info.publisher);
        context.activity.note(GridEvent::ModuleUploaded { module, name, publisher });
    }
    added.map(Reply::Module).map_err(|error| match error {
        UploadError::Catalog(error) => fault(error),
        UploadError::Manifest(refusal) => {
            use grid_protocol::manifest::ManifestRefusal as Refusal;
            let help = match &refusal {
                Refusal::UntrustedPublisher { publisher } => {
                    format!("an admin can type `grid key trust {publisher} --role publisher`")
                }
                Refusal::SerialTooOld { seen, .. } => {
                    format!("sign it with a serial of at least {seen}; `grid module upload` does so by itself, without `--serial`")
                }
                _ => "sign it again".to_owned(),
            };
            deny(DenialCode::ModuleRejected, "module", refusal, &help)
        }
        UploadError::Published { .. } => deny(
            DenialCode::Conflict,
            "module",
            error,
            "use it as it is there, or ask its publisher or an admin to remove it: `grid module rm NAME`",
        ),
        UploadError::Module(refusal) => deny(
            DenialCode::ModuleRejected,
            "module",
            refusal,
            "`grid module check FILE` explains what the grid runs",
        ),
    })
}

/// Checks an upload. Locks the catalog only while it checks the manifest.
async fn read_module(
    context: &Arc<Context>,
    manifest: Vec<u8>,
    wasm: Bytes,
    now: u64,
) -> Result<VerifiedUpload, UploadError> {
    let expected = context.catalog_now().expect_module(manifest, now)?;
    context.off_thread(move || expected.read(&wasm)).await?
}

pub(super) async fn remove_module(
    context: &Arc<Context>,
    asker: Asker,
    module: grid_protocol::digest::Digest,
) -> Result<Reply, Denial> {
    let publisher = context.catalog_now().module(&module).map(|module| module.publisher);
    if let Some(publisher) = publisher.filter(|publisher| *publisher != asker.key)
        && !asker.roles(context).has(Role::Admin)
    {
        let why = format!("{publisher} published it");
        let help = "its publisher can remove it, or an admin: `grid module rm NAME`";
        return Err(deny(DenialCode::NotAllowed, "remove a module of another publisher", why, help));
    }
    let in_use = {
        let cluster = context.cluster();
        cluster.scheduler.workers().values().any(|worker| worker.spec.module == module)
            || cluster.coordinator.needs(&module)
    };
    let ordered =
        context.catalog_now().deployments().values().any(|deployment| deployment.request.module == module);
    if in_use || ordered {
        let why = "workers, jobs or deployments use it";
        return Err(deny(
            DenialCode::Conflict,
            "module",
            why,
            "stop them first: `grid worker stop --module NAME`; an admin stops everybody's with `--everyone`",
        ));
    }
    let name = context.catalog_now().module(&module).map(|module| module.manifest.name.clone());
    let removed = context.catalog(move |catalog| catalog.remove_module(&module)).await.map_err(fault)?;
    if let Some(name) = name.filter(|_| removed) {
        context.activity.note(GridEvent::ModuleRemoved { module, name });
    }
    found(removed, "module", "`grid module ls` lists them")
}
