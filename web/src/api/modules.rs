//! Modules.

use std::collections::HashMap;

use axum::extract::Extension;
use axum::http::StatusCode;
use bytes::Bytes;
use grid_client::view::{DoneView, List, Listed, ModuleView};
use grid_http::HttpProblem;
use grid_protocol::client::{ModuleInfo, Reply, Request};
use grid_protocol::key::PublicKey;
use grid_protocol::limits::MODULE_BYTES_MAX;
use grid_protocol::role::Role;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, Type};

use crate::answer::{HttpAnswer, bad, document, odd};
use crate::api::Asks;
use crate::api::arguments::{Form, InPath, read};
use crate::api::hosts::hosts;
use crate::auth::Caller;
use crate::openapi::{ApiRoutes, operation};

/// Longest manifest, in bytes.
const MANIFEST_BYTES_MAX: usize = 64 << 10;

/// Longest form: a module, its manifest, and what stands between them.
pub(super) const FORM_BYTES_MAX: usize = MODULE_BYTES_MAX + 2 * MANIFEST_BYTES_MAX;

/// A module, with the hosts that have it.
#[derive(Serialize, ToSchema)]
struct ModuleRow {
    /// Number of hosts that have it, as far as the manager knows.
    hosts: u32,
    #[serde(flatten)]
    module: ModuleView,
    /// Some of those hosts, at most fifty.
    on: Vec<ModuleHost>,
}

/// A host that has a module.
#[derive(Serialize, ToSchema)]
struct ModuleHost {
    /// Its key.
    key: String,
    /// Its display name.
    name: String,
}

impl Listed for ModuleRow {
    const LIST: &'static str = ModuleView::LIST;
}

pub(super) fn routes() -> ApiRoutes {
    ApiRoutes::new("modules")
        .get(
            "/modules",
            list,
            operation("listModules", "Lists the modules that the manager keeps.")
                .answers::<List<ModuleRow>>("The modules."),
        )
        .post(
            "/modules",
            upload,
            operation("uploadModule", "Takes a module that is signed already.")
                .note("A module that the manager has already is answered as one that it takes.")
                .needs(Role::Publisher)
                .takes(&["multipart/form-data"], form(), "The manifest and the module, in this order.")
                .answers::<ModuleView>("The module.")
                .problems(&[
                    StatusCode::CONFLICT,
                    StatusCode::UNPROCESSABLE_ENTITY,
                    StatusCode::SERVICE_UNAVAILABLE,
                ]),
        )
        .body_bytes_max(FORM_BYTES_MAX)
        .post(
            "/modules/{digest}/remove",
            remove,
            operation("removeModule", "Forgets a module that nothing uses.")
                .note("It may be the caller's own, or anybody's if the caller is an admin.")
                .needs(Role::Publisher)
                .in_path("digest", "The module's digest: 64 hexadecimal digits.")
                .problems(&[StatusCode::NOT_FOUND, StatusCode::CONFLICT]),
        )
}

/// The schema of the form.
fn form() -> ObjectBuilder {
    let file = |text: String| {
        let file = ObjectBuilder::new().schema_type(Type::String);
        file.content_media_type("application/octet-stream").description(Some(text))
    };
    let manifest = format!("The signed manifest, at most {MANIFEST_BYTES_MAX} bytes.");
    let module = format!("The module, at most {MODULE_BYTES_MAX} bytes.");
    ObjectBuilder::new()
        .property("manifest", file(manifest))
        .required("manifest")
        .property("module", file(module))
        .required("module")
}

pub(super) async fn modules(caller: &Caller) -> Result<Vec<ModuleInfo>, HttpProblem> {
    match caller.ask(Request::ModuleList).await? {
        Reply::Modules(modules) => Ok(modules),
        other => Err(odd(&other)),
    }
}

async fn list(Extension(caller): Asks) -> HttpAnswer {
    let spread = match caller.ask(Request::ModuleSpread).await? {
        Reply::ModuleSpread(spread) => spread,
        other => return Err(odd(&other)),
    };
    let spread: HashMap<_, _> = spread.iter().map(|spread| (spread.module, spread)).collect();
    let names = hosts(&caller).await?.into_iter().map(|host| (host.key, host.capacity.name));
    let names: HashMap<_, _> = names.collect();
    let on = |key: &PublicKey| ModuleHost {
        key: key.to_string(),
        name: names.get(key).cloned().unwrap_or_else(|| key.fingerprint()),
    };
    let row = |module: &ModuleInfo| {
        let spread = spread.get(&module.digest);
        ModuleRow {
            hosts: spread.map_or(0, |spread| spread.hosts),
            module: module.into(),
            on: spread.map(|spread| spread.on.iter().map(on).collect()).unwrap_or_default(),
        }
    };
    document(List(modules(&caller).await?.iter().map(row).collect()))
}

/// Takes a module that is signed already: a form with the fields `manifest` and `module`, in this order.
async fn upload(Extension(caller): Asks, Form(mut form): Form) -> HttpAnswer {
    // Asked first, so that nobody else makes the manager hold 64 MiB.
    if !caller.auth.access.roles(caller.asker).has(Role::Publisher) {
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

async fn remove(Extension(caller): Asks, InPath(digest): InPath<String>) -> HttpAnswer {
    caller.ask(Request::ModuleRemove { module: read(&digest)? }).await?;
    document(DoneView::DONE)
}
