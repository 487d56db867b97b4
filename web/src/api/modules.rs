//! Modules.

use axum::Router;
use axum::extract::{DefaultBodyLimit, Extension, Multipart, Path};
use axum::http::StatusCode;
use axum::routing::{get, post};
use bytes::Bytes;
use grid_client::view::{DoneView, List, ModuleView};
use grid_http::HttpProblem;
use grid_protocol::client::{ModuleInfo, Reply, Request};
use grid_protocol::limits::MODULE_BYTES_MAX;

use crate::answer::{HttpAnswer, bad, document, odd};
use crate::api::{Asks, read};
use crate::auth::Caller;

/// Longest manifest, in bytes.
const MANIFEST_BYTES_MAX: usize = 64 << 10;

/// Longest form: a module, its manifest, and what stands between them.
pub(super) const FORM_BYTES_MAX: usize = MODULE_BYTES_MAX + 2 * MANIFEST_BYTES_MAX;

pub(super) fn routes() -> Router {
    Router::new()
        .route("/modules", get(list).post(upload).layer(DefaultBodyLimit::max(FORM_BYTES_MAX)))
        .route("/modules/{digest}/remove", post(remove))
}

pub(super) async fn modules(caller: &Caller) -> Result<Vec<ModuleInfo>, HttpProblem> {
    match caller.ask(Request::ModuleList).await? {
        Reply::Modules(modules) => Ok(modules),
        other => Err(odd(&other)),
    }
}

async fn list(Extension(caller): Asks) -> HttpAnswer {
    document(List(modules(&caller).await?.iter().map(ModuleView::from).collect()))
}

/// Takes a module that is signed already: a form with the fields `manifest` and `module`, in this order.
async fn upload(Extension(caller): Asks, mut form: Multipart) -> HttpAnswer {
    // Asked first, so that nobody else makes the manager hold 64 MiB.
    if !caller.auth.access.roles(caller.asker).has(grid_protocol::role::Role::Publisher) {
        let problem = HttpProblem::new(
            StatusCode::FORBIDDEN,
            "not-allowed",
            "it takes the role publisher to upload modules",
        );
        return Err(problem.help("an admin can type `grid key trust KEY --role publisher`"));
    }
    let (mut manifest, mut module) = (None, None);
    while let Some(field) = form.next_field().await.map_err(bad)? {
        match field.name() {
            Some("manifest") => manifest = Some(field.bytes().await.map_err(bad)?),
            Some("module") => module = Some(field.bytes().await.map_err(bad)?),
            _ => return Err(bad("a form with the fields `manifest` and `module` is expected")),
        }
    }
    let (Some(manifest), Some(module)) = (manifest, module) else {
        return Err(bad("a form with the fields `manifest` and `module` is expected"));
    };
    if manifest.len() > MANIFEST_BYTES_MAX {
        return Err(bad(format!("a manifest has at most {MANIFEST_BYTES_MAX} bytes")));
    }
    take(&caller, manifest, module).await
}

async fn take(caller: &Caller, manifest: Bytes, module: Bytes) -> HttpAnswer {
    let request = Request::ModuleUpload { manifest: manifest.into(), length: module.len() as u64 };
    match caller.ask_with(request, Some(module)).await? {
        Reply::Module(info) => document(ModuleView::from(&info)),
        other => Err(odd(&other)),
    }
}

async fn remove(Extension(caller): Asks, Path(digest): Path<String>) -> HttpAnswer {
    caller.ask(Request::ModuleRemove { module: read(&digest)? }).await?;
    document(DoneView::DONE)
}
