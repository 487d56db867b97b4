//! The manager's page and HTTP API, through the real program: who may see and do what, and what is answered.

use std::io::{BufRead, BufReader, Write};

use grid_tests::{Grid, Page, module};
use serde_json::{Value, json};

/// A grid with its page, and somebody who is nobody there; each answer is held against the description of the API.
fn grid() -> (Grid, Page) {
    let grid = Grid::closed();
    let page = Page::at(&grid.page()).described();
    (grid, page)
}

fn token(grid: &Grid, role: &str) -> String {
    grid.must(&["key", "token", "--quiet", "--role", role, "--days", "1"]).stdout.trim().to_owned()
}

/// Somebody logged in by the link of `grid ui`.
fn logged_in(grid: &Grid, page: &Page) -> Page {
    page.logged_in(&grid.must(&["ui", "--print", "--quiet"]).stdout)
}

#[test]
fn a_job_is_made_watched_and_read_with_nothing_but_http() {
    let (grid, page) = grid();
    let _host = grid.host("one", &["--slots", "2"]);
    grid.must(&["module", "upload", &module("primes").to_string_lossy()]);
    let page = page.token(&token(&grid, "client"));
    let tasks: String =
        (0..20).map(|number| format!("[{},{}]\n", number * 1000, number * 1000 + 1000)).collect();
    let made = page.ask("POST", "/api/v1/jobs?module=primes&name=counted", tasks.as_bytes());
    assert_eq!(made.status, 200, "{made:?}");
    let job = made.json()["id"].as_str().unwrap().to_owned();
    let (mut results, mut after) = (Vec::new(), 0);
    while results.len() < 20 {
        let page = page.get(&format!("/api/v1/jobs/{job}/results?after={after}&wait_ms=10000")).json();
        after = page["next"].as_u64().unwrap();
        results.extend(page["results"].as_array().unwrap().iter().cloned());
    }
    let count: u64 = results.iter().map(|result| result["result"]["count"].as_u64().unwrap()).sum();
    assert_eq!(count, 2262, "primes below 20 000");
    let shown = page.get(&format!("/api/v1/jobs/{job}")).json();
    let printed = grid.must(&["job", "show", &job, "--json"]).json();
    for figure in ["done", "dead", "submitted", "waiting", "name", "module", "owner"] {
        assert_eq!(shown[figure], printed[figure], "{figure}");
    }
    assert_eq!((&shown["state"], &shown["summary"]["done"]), (&json!("finished"), &json!(20)));
    let module = page.get("/api/v1/modules").json()["modules"][0].clone();
    assert_eq!((&module["hosts"], &module["on"][0]["name"]), (&json!(1), &json!("one")));
    let load = page.get("/api/v1/hosts").json()["hosts"][0]["load"].clone();
    assert_eq!((&load["held"], &load["quarantine_ms"]), (&json!(0), &Value::Null));
    assert!(load["window"].as_u64() >= Some(2), "{load}");
    let task = page.get(&format!("/api/v1/jobs/{job}/tasks/3")).json();
    assert_eq!((&task["state"], &task["host"]), (&json!("done"), &json!("one")));
    assert_eq!(page.get(&format!("/api/v1/jobs/{job}/tasks/20")).status, 404);
    let wrong = page.ask("POST", "/api/v1/jobs?module=primes", b"[1,2]\nnonsense\n");
    assert_eq!(wrong.status, 400);
    assert!(wrong.json()["detail"].as_str().unwrap().starts_with("line 2: "), "{wrong:?}");
    let unknown = page.ask("POST", "/api/v1/jobs?module=nothing", b"1\n").json();
    assert_eq!((&unknown["code"], &unknown["status"]), (&json!("not-found"), &json!(404)));
}

#[test]
fn the_link_of_grid_ui_logs_in_once_and_logging_out_ends_the_session() {
    let (grid, page) = grid();
    assert_eq!(page.get("/api/v1/me").status, 401);
    let link = grid.must(&["ui", "--print", "--quiet"]).stdout;
    let user = page.logged_in(&link);
    let me = user.get("/api/v1/me").json();
    assert_eq!(me["roles"], json!(["client", "publisher", "admin", "viewer"]));
    let code = link.trim().rsplit_once("#code=").unwrap().1;
    let again = page.post("/api/v1/login", &json!({ "code": code }).to_string());
    assert_eq!(again.status, 403);
    assert!(again.json()["help"].as_str().unwrap().contains("grid ui"), "{again:?}");
    assert_eq!(user.post("/api/v1/logout", "{}").status, 200);
    assert_eq!(user.get("/api/v1/me").status, 401);
}

#[test]
fn a_viewers_ticket_shows_everything_and_changes_nothing() {
    let (grid, page) = grid();
    let _host = grid.host("one", &[]);
    let ticket = grid.ticket("viewer");
    let login = page.post("/api/v1/login", &json!({ "ticket": ticket }).to_string());
    let cookie = login.header("set-cookie").split(';').next().unwrap().to_owned();
    let viewer = page.with("cookie", &cookie);
    let me = viewer.get("/api/v1/me").json();
    assert_eq!(me["roles"], json!(["viewer"]));
    let viewer = viewer.with("x-grid-csrf", me["csrf"].as_str().unwrap());
    let hosts = viewer.get("/api/v1/hosts").json();
    let key = hosts["hosts"][0]["key"].as_str().unwrap().to_owned();
    for seen in [
        "status",
        "overview",
        "jobs?everyones=true",
        "workers?everyones=true",
        "modules",
        "keys",
        "tickets",
        "audit",
        "events",
    ] {
        assert_eq!(viewer.get(&format!("/api/v1/{seen}")).status, 200, "{seen}");
    }
    assert_eq!(viewer.get(&format!("/api/v1/hosts/{key}")).json()["work"]["key"], json!(key));
    for action in ["drain", "remove", "approve"] {
        let refused = viewer.post(&format!("/api/v1/hosts/{key}/{action}"), "{}");
        assert_eq!((refused.status, &refused.json()["code"]), (403, &json!("not-allowed")), "{action}");
    }
    let ticket = viewer.post("/api/v1/tickets", r#"{"role":"admin","hours":1}"#);
    assert_eq!(ticket.status, 403);
    let audit = grid.must(&["audit", "--json", "-n", "20"]).json();
    let refused = audit["audit"].as_array().unwrap().iter().filter(|entry| !entry["refused"].is_null());
    assert_eq!(refused.count(), 4, "{audit}");
    let again = page.post("/api/v1/login", &json!({ "ticket": grid.ticket("host") }).to_string());
    assert_eq!(again.status, 403, "a host's ticket logs nobody in");
}

#[test]
fn a_revoked_key_sees_nothing_more_and_neither_do_its_tokens_and_pages() {
    let (grid, page) = grid();
    let client = grid.ticket("client");
    assert_eq!(grid.grid_as("other", &["--manager", &client, "status"]).code, 0);
    let address = grid.address().to_owned();
    let as_other =
        |arguments: &[&str]| grid.grid_as("other", &[&["--manager", &address], arguments].concat());
    let token = as_other(&["key", "token", "--quiet"]).stdout.trim().to_owned();
    let user = page.logged_in(&as_other(&["ui", "--print", "--quiet"]).stdout);
    let program = page.token(&token);
    assert_eq!((user.get("/api/v1/jobs").status, program.get("/api/v1/jobs").status), (200, 200));
    assert_eq!(program.get("/api/v1/jobs?everyones=true").status, 403);
    let key = user.get("/api/v1/me").json()["key"].as_str().unwrap().to_owned();
    grid.must(&["key", "revoke", &key]);
    assert_eq!((user.get("/api/v1/jobs").status, program.get("/api/v1/jobs").status), (403, 401));
}

#[test]
fn a_token_does_what_its_role_allows_until_it_is_removed() {
    let (grid, page) = grid();
    let viewer = page.token(&token(&grid, "viewer"));
    assert_eq!(viewer.get("/api/v1/jobs?everyones=true").status, 200);
    let refused = viewer.ask("POST", "/api/v1/jobs?module=primes", b"1\n").json();
    assert_eq!(refused["code"], json!("not-found"), "there is no module");
    let refused = viewer.post("/api/v1/tickets", r#"{"role":"host","hours":1}"#);
    assert!(refused.status == 403 && refused.json()["help"].as_str().unwrap().contains("--role admin"));
    let tokens = grid.must(&["key", "tokens", "--json"]).json();
    let id = tokens["tokens"][0]["id"].as_str().unwrap().to_owned();
    grid.must(&["key", "rm-token", &id]);
    assert_eq!(viewer.get("/api/v1/jobs").status, 401);
    let named = grid.must(&["key", "token", "--quiet", "--name", "board"]).stdout;
    assert_eq!(page.token(named.trim()).get("/api/v1/status").status, 200);
    assert_eq!(grid.grid(&["key", "token", "--days", "1e9"]).code, 2);
    assert_eq!(grid.grid(&["key", "token", "--role", "host"]).code, 4);
}

#[test]
fn the_stream_tells_each_second_what_changes() {
    let (grid, page) = grid();
    let user = logged_in(&grid, &page);
    let cookie = user.with("connection", "keep-alive");
    let mut stream = user.connect();
    let head = cookie.head("GET", "/api/v1/stream?samples=0");
    stream.write_all(head.as_bytes()).unwrap();
    let mut lines = BufReader::new(stream).lines();
    let mut next = |wanted: &str| -> Value {
        let mut name = String::new();
        loop {
            let line = lines.next().unwrap().unwrap();
            if let Some(event) = line.strip_prefix("event: ") {
                name = event.to_owned();
            }
            if let Some(data) = line.strip_prefix("data: ").filter(|_| name == wanted) {
                let data = serde_json::from_str(data).unwrap();
                user.description().hold_event(&name, &data);
                return data;
            }
        }
    };
    assert_eq!(next("overview")["status"]["hosts"], json!(0));
    let _host = grid.host("one", &["--slots", "1"]);
    loop {
        let events = next("events");
        if events["events"].as_array().unwrap().iter().any(|event| event["kind"] == "host-joined") {
            break;
        }
    }
    assert_eq!(next("overview")["status"]["hosts"], json!(1));
    grid.must(&["module", "upload", &module("primes").to_string_lossy()]);
    assert_eq!(grid.grid_given(&["run", &module("primes").to_string_lossy()], "[0,10]\n[0,20]\n").code, 0);
    let samples = next("samples");
    assert_eq!(samples["endings"], json!(["done"]), "{samples}");
    assert_eq!(samples["tasks"]["ending"][0], json!(0), "{samples}");
}

#[test]
fn a_reader_of_the_feed_who_stops_is_told_of_the_hole_and_costs_the_manager_nothing() {
    let (grid, page) = grid();
    let _host = grid.host("one", &["--slots", "600"]);
    let echo = grid.folder("echo.wasm");
    std::fs::write(&echo, grid_tests::echo()).unwrap();
    grid.must(&["module", "upload", &echo.to_string_lossy()]);
    let churn = |rounds: u32| {
        for _ in 0..rounds {
            grid.must(&["worker", "spawn", "echo", "-n", "600", "--quiet"]);
            grid.must(&["worker", "stop", "--module", "echo", "--quiet"]);
            grid.wait_until(&["worker", "ls"], |listed| listed["workers"] == json!([]));
        }
    };
    churn(4);
    let reader = page.token(&token(&grid, "viewer"));
    let first = reader.get("/api/v1/events?most=1").json();
    let after = first["next"].as_u64().unwrap();
    // A page that takes nothing of what it is told, meanwhile.
    let mut stuck = reader.connect();
    stuck.write_all(reader.head("GET", "/api/v1/stream?samples=0").as_bytes()).unwrap();
    let before = crate::hostile_peer::memory_mib(&grid);
    churn(4);
    let after_all = crate::hostile_peer::memory_mib(&grid);
    let later = reader.get(&format!("/api/v1/events?after={after}&most=1000")).json();
    let (missed, events) = (later["missed"].as_u64().unwrap(), later["events"].as_array().unwrap());
    assert!(missed > 3000, "{missed}");
    assert_eq!(
        events[0]["seq"].as_u64().unwrap(),
        after + missed + 1,
        "what is missed is just what is missing"
    );
    assert!(after_all < before + 8, "{before} MiB before, {after_all} MiB after");
    drop(stuck);
}

#[test]
fn metrics_and_health_are_shown_on_loopback_without_a_token() {
    let (grid, page) = grid();
    let _host = grid.host("one", &["--slots", "3"]);
    grid.must(&["module", "upload", &module("primes").to_string_lossy()]);
    assert_eq!(grid.grid_given(&["run", &module("primes").to_string_lossy()], "[0,10]\n[0,20]\n").code, 0);
    let metrics = page.with("accept", "application/openmetrics-text").get("/metrics");
    assert!(metrics.header("content-type").starts_with("application/openmetrics-text"));
    for line in [
        "grid_tasks_done_total 2",
        "grid_slots 3",
        "grid_hosts{state=\"ready\"} 1",
        "grid_tasks{state=\"waiting\"} 0",
    ] {
        assert!(metrics.body.lines().any(|found| found == line), "{line}: {}", metrics.body);
    }
    assert!(metrics.body.ends_with("# EOF\n"));
    assert_eq!((page.get("/healthz").status, page.get("/readyz").status), (200, 200));
}

#[test]
fn a_page_on_another_address_has_tls_with_a_certificate_whose_digest_is_told() {
    let grid = Grid::start(&["--open-join", "false", "--http", "0.0.0.0:0", "--http-name", "grid.example"]);
    let page = grid.page();
    assert!(page.starts_with("https://grid.example:"), "{page}");
    let link = grid.must(&["ui", "--print", "--json"]).json();
    assert_eq!(link["certificate"].as_str().map(str::len), Some(64), "{link}");
    let port = page.rsplit_once(':').unwrap().1;
    let plain = Page::at(&format!("127.0.0.1:{port}")).get("/api/v1/status");
    assert_eq!(plain.status, 0, "nothing is said without TLS: {plain:?}");
}

#[test]
fn a_page_that_cannot_be_served_is_told_plainly() {
    let (grid, page) = grid();
    let other = grid.folder("other").to_string_lossy().into_owned();
    let taken = grid.grid(&["up", "--listen", "127.0.0.1:0", "--state", &other, "--http", page.address()]);
    assert_eq!(taken.code, 1);
    assert!(taken.stderr.contains("(TCP)") && taken.stderr.contains("--http"), "{}", taken.stderr);
    let key = grid.folder("nothing.pem");
    std::fs::write(&key, "nothing").unwrap();
    let key = key.to_string_lossy().into_owned();
    let arguments =
        ["up", "--listen", "127.0.0.1:0", "--state", &other, "--http-cert", &key, "--http-key", &key];
    let broken = grid.grid(&arguments);
    assert_eq!(broken.code, 1);
    assert!(broken.stderr.contains("nothing.pem") && broken.stderr.contains("PEM"), "{}", broken.stderr);
    grid.must(&["status"]);
    let without = Grid::start(&["--open-join", "false", "--no-http"]);
    let refused = without.grid(&["ui", "--print"]);
    assert!(refused.code != 0 && refused.stderr.contains("--http"), "{}", refused.stderr);
}

#[test]
fn events_are_listed_and_followed() {
    let (grid, _) = grid();
    let mut follower = grid.command(&["events", "--follow", "--json", "--last", "1"]);
    let mut follower = follower.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let _host = grid.host("one", &["--slots", "1"]);
    let lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let joined = lines.map_while(Result::ok).find(|line| line.contains("host-joined")).unwrap();
    let joined: Value = serde_json::from_str(&joined).unwrap();
    assert_eq!(joined["text"], json!("host one joined with 1 slot"));
    follower.kill().unwrap();
    follower.wait().unwrap();
    let listed = grid.must(&["events", "-n", "5"]).stdout;
    assert!(listed.contains("host one joined with 1 slot"), "{listed}");
}
