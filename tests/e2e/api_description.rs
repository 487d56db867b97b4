//! The description of the HTTP API against the real program: what it describes is served and answered so, and nothing else
//! is served.

use std::collections::BTreeSet;

use grid_tests::{Grid, Page, module};
use serde_json::{Value, json};
use wasm_grid::{Publication, SecretKey};

fn token(grid: &Grid, role: &str) -> String {
    grid.must(&["key", "token", "--quiet", "--role", role]).stdout.trim().to_owned()
}

/// Does what must succeed, and answers with what the page did.
fn must(page: &Page, method: &str, path: &str, body: &str) -> Value {
    let page =
        if method == "POST" { page.with("content-type", "application/json") } else { page.with("", "") };
    let answered = page.ask(method, &format!("/api/v1{path}"), body.as_bytes());
    assert_eq!(answered.status, 200, "{method} {path}: {answered:?}");
    answered.json()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// Brings a module, as a form.
fn upload(page: &Page, name: &str, wasm: &[u8], publisher: &SecretKey) -> String {
    let manifest = Publication::new(name, wasm).unwrap().sign(publisher);
    let field = |name: &str| {
        format!("--x\r\ncontent-disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\n\r\n")
            .into_bytes()
    };
    let form =
        [&field("manifest"), &manifest[..], b"\r\n", &field("module"), wasm, b"\r\n--x--\r\n"].concat();
    let form_type = page.with("content-type", "multipart/form-data; boundary=x");
    let brought = form_type.ask("POST", "/api/v1/modules", &form);
    assert_eq!(brought.status, 200, "{brought:?}");
    text(&brought.json()["digest"])
}

/// Gives a key a role; makes and removes a ticket and a token.
fn ask_about_access(grid: &Grid, page: &Page, key: &str) {
    let get = |path: &str| must(page, "GET", path, "");
    let post = |path: &str, body: &str| must(page, "POST", path, body);
    post(&format!("/keys/{key}/trust"), r#"{"role":"publisher"}"#);
    assert!(get("/keys")["keys"].as_array().unwrap().iter().any(|known| known["key"] == key));
    let ticket = text(&post("/tickets", r#"{"role":"host","hours":1.5}"#)["ticket"]);
    assert!(ticket.starts_with("grid1"));
    let id = text(&get("/tickets")["tickets"][0]["id"]);
    post(&format!("/tickets/{id}/remove"), "");
    token(grid, "viewer");
    let id = text(&get("/tokens")["tokens"][0]["id"]);
    post(&format!("/tokens/{id}/remove"), "");
}

/// Makes a job, of whose two tasks one fails, and removes it in the end.
fn ask_about_a_job(page: &Page) {
    let get = |path: &str| must(page, "GET", path, "");
    let post = |path: &str, body: &str| must(page, "POST", path, body);
    let job = text(
        &post("/jobs?module=primes&name=counted&attempts=1&priority=-1", "[0,100]\n\"no range\"\n")["id"],
    );
    let (mut outcomes, mut after) = (Vec::new(), 0);
    while outcomes.len() < 2 {
        let results = get(&format!("/jobs/{job}/results?after={after}&wait_ms=10000"));
        after = results["next"].as_u64().unwrap();
        outcomes.extend(results["results"].as_array().unwrap().iter().cloned());
    }
    assert!(outcomes.iter().any(|outcome| outcome["error"]["attempts"][0].is_object()), "{outcomes:?}");
    assert_eq!(get("/jobs?everyones=true")["jobs"][0]["dead"], json!(1));
    assert_eq!(get(&format!("/jobs/{job}"))["summary"]["reasons"][0]["task"], json!(1));
    assert_eq!(get(&format!("/jobs/{job}/tasks/0"))["state"], json!("done"));
    assert!(get(&format!("/jobs/{job}/traces"))["traces"][0]["parts"][0].is_object());
    assert_eq!(get(&format!("/jobs/{job}/tasks/1"))["state"], json!("failed"));
    post(&format!("/jobs/{job}/retry"), "");
    post(&format!("/jobs/{job}/stop"), "");
    post(&format!("/jobs/{job}/remove"), "");
}

#[test]
fn every_request_is_answered_as_its_description_says() {
    let grid = Grid::closed();
    let page = Page::at(&grid.page()).described();
    let admin = page.logged_in(&grid.must(&["ui", "--print", "--quiet"]).stdout);
    let get = |path: &str| must(&admin, "GET", path, "");
    let post = |path: &str, body: &str| must(&admin, "POST", path, body);
    get("/openapi.json");
    let publisher = SecretKey::from_seed(&[7; 32]);
    let key = publisher.public().to_string();
    ask_about_access(&grid, &admin, &key);
    // Hosts.
    let mut host = grid.host_at(grid.address(), "one", &["--slots", "2"]);
    host.wait_for("waiting for approval");
    let waiting = get("/hosts");
    let host_key = text(&waiting["hosts"][0]["key"]);
    assert_eq!(get(&format!("/hosts/{host_key}"))["work"], Value::Null);
    post(&format!("/hosts/{host_key}/approve"), "");
    host.wait_for("joined");
    // Modules and a job.
    let wasm = std::fs::read(module("primes")).unwrap();
    upload(&admin, "primes", &wasm, &publisher);
    let echo = upload(&admin, "echo", &grid_tests::echo(), &publisher);
    assert_eq!(get("/modules")["modules"].as_array().unwrap().len(), 2);
    ask_about_a_job(&admin);
    // Workers.
    grid.must(&["worker", "spawn", "echo", "--quiet"]);
    let worker = text(&get("/workers?everyones=true")["workers"][0]["worker"]);
    assert_eq!(get(&format!("/hosts/{host_key}"))["work"]["key"], json!(host_key));
    get(&format!("/workers/{worker}/logs"));
    post(&format!("/workers/{worker}/stop"), "");
    grid.wait_until(&["worker", "ls"], |listed| listed["workers"] == json!([]));
    assert!(get("/workers?everyones=true&ended=true")["workers"][0]["end"].is_string());
    post(&format!("/modules/{echo}/remove"), "");
    // What the grid does and did.
    assert_eq!(get("/status")["hosts"], json!(1));
    assert!(
        get("/overview")["totals"]["dead"].as_u64() >= Some(1),
        "more if the retry was faster than the stop"
    );
    assert!(!get("/events?most=1000")["events"].as_array().unwrap().is_empty());
    get("/samples?most=1000");
    assert!(get("/audit?most=5")["audit"].as_array().unwrap().len() == 5);
    // The end.
    post(&format!("/hosts/{host_key}/drain"), "");
    post(&format!("/hosts/{host_key}/remove"), "");
    post(&format!("/keys/{key}/revoke"), "");
    get("/me");
    post("/logout", "{}");
    let requests = admin.description().requests();
    let unanswered: BTreeSet<_> = requests.difference(&admin.description().answered(200)).cloned().collect();
    // The stream does not end: what it says is held against the description where it is followed.
    assert_eq!(unanswered, [("GET".to_owned(), "/stream".to_owned())].into());
}

#[test]
fn nothing_is_served_that_is_not_described() {
    let grid = Grid::closed();
    let page = Page::at(&grid.page()).described();
    let admin = page.token(&token(&grid, "admin"));
    let requests = admin.description().requests();
    let paths: BTreeSet<_> = requests.iter().map(|(_, path)| path.clone()).collect();
    for path in paths {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            if requests.contains(&(method.to_owned(), path.clone())) {
                continue;
            }
            let answered = admin.ask(method, &format!("/api/v1{path}"), b"");
            assert_eq!(answered.status, 405, "{method} {path}");
        }
    }
    assert_eq!(admin.get("/api/v1/nothing").status, 404);
}

#[test]
fn what_cannot_be_read_is_a_problem_document() {
    let grid = Grid::closed();
    let page = Page::at(&grid.page()).described();
    let admin = page.token(&token(&grid, "admin"));
    let job = format!("j{}", "0".repeat(32));
    for path in [
        "/api/v1/jobs?everyones=perhaps",
        "/api/v1/events?after=-1",
        "/api/v1/audit?most=all",
        "/api/v1/stream?samples=x",
        "/api/v1/hosts/nobody",
        &format!("/api/v1/jobs/{job}/tasks/first"),
        &format!("/api/v1/jobs/{job}/results?wait_ms=x"),
    ] {
        let answered = admin.get(path);
        assert_eq!((answered.status, &answered.json()["code"]), (400, &json!("bad-request")), "{path}");
    }
    let unknown = admin.ask("POST", "/api/v1/jobs?module=primes&speed=high", b"1\n");
    assert_eq!(unknown.status, 400, "{unknown:?}");
    let no_form = admin.with("content-type", "multipart/form-data").ask("POST", "/api/v1/modules", b"");
    assert_eq!((no_form.status, &no_form.json()["code"]), (400, &json!("bad-request")));
    let no_json = admin.with("content-type", "text/plain").ask("POST", "/api/v1/tickets", b"{}");
    assert_eq!(no_json.status, 415);
    let chunk = format!("{:x}\r\n{}\r\n0\r\n\r\n", 1 << 17, "1".repeat(1 << 17));
    let endless = admin.with("content-type", "application/json").with("transfer-encoding", "chunked");
    let head = endless.with("connection", "close").head("POST", "/api/v1/tickets");
    let too_long = endless.raw(format!("{head}{chunk}").as_bytes());
    assert_eq!((too_long.status, &too_long.json()["code"]), (413, &json!("too-large")));
}

#[test]
fn the_description_is_shown_to_anybody_and_gives_nothing_away() {
    let grid = Grid::closed();
    let page = Page::at(&grid.page());
    let shown = page.get("/api/v1/openapi.json");
    assert_eq!((shown.status, shown.header("content-type")), (200, "application/json"));
    assert_eq!(shown.json()["openapi"], json!("3.1.0"));
    let manager = grid.address().split_once('@').unwrap().0;
    let software = text(&grid.must(&["status", "--json"]).json()["software"]);
    for secret in [manager, &format!("\"{software}\"")] {
        assert!(!shown.body.contains(secret), "{secret}");
    }
    let port = page.address().rsplit_once(':').unwrap().1;
    let cookie = &shown.json()["components"]["securitySchemes"]["session"]["name"];
    assert_eq!(*cookie, json!(format!("grid-session-{port}")));
}
