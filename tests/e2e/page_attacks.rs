//! Attacks on the page and the HTTP API: each is refused, and the page goes on serving others.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use grid_tests::{Grid, Page};
use serde_json::json;

/// A name that a page must show and never obey.
const SCRIPT: &str = "<img src=x onerror=alert(1)>";

struct Attacked {
    grid: Grid,
    /// Somebody who is nobody there.
    page: Page,
    /// An admin, as the page's own scripts are.
    admin: Page,
}

impl Attacked {
    fn new() -> Self {
        let grid = Grid::closed();
        let page = Page::at(&grid.page());
        let admin = page.logged_in(&grid.must(&["ui", "--print", "--quiet"]).stdout);
        Self { grid, page, admin }
    }

    /// An admin's token.
    fn token(&self, role: &str) -> String {
        self.grid.must(&["key", "token", "--quiet", "--role", role]).stdout.trim().to_owned()
    }
}

#[test]
fn a_strangers_name_that_points_here_reads_nothing() {
    let attacked = Attacked::new();
    for host in ["evil.example", "127.0.0.1.evil.example", "localhost:80@evil.example", ""] {
        let answer = attacked.admin.with("host", host).get("/api/v1/status");
        assert!(matches!(answer.status, 400 | 421), "{host}: {answer:?}");
        assert!(!answer.body.contains("uptime"), "{host}");
    }
    let twice = attacked.admin.with("x-pad", "1\r\nhost: evil.example").get("/api/v1/status");
    assert!(matches!(twice.status, 400 | 421), "two names: {twice:?}");
    assert_eq!(attacked.page.with("host", "evil.example").get("/metrics").status, 421);
}

#[test]
fn another_site_can_neither_change_anything_nor_log_anybody_in() {
    let attacked = Attacked::new();
    let forged = attacked.admin.with("x-grid-csrf", "");
    let ticket = r#"{"role":"admin","hours":1}"#;
    assert_eq!(forged.post("/api/v1/tickets", ticket).json()["code"], json!("forged"));
    let guessed = attacked.admin.with("x-grid-csrf", &"0".repeat(64));
    assert_eq!(guessed.post("/api/v1/tickets", ticket).status, 403);
    // A form, which needs no leave of ours to be sent.
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        let form = attacked.admin.with("content-type", kind);
        assert_eq!(form.ask("POST", "/api/v1/tickets", ticket.as_bytes()).status, 415, "{kind}");
    }
    let cross = attacked.admin.with("sec-fetch-site", "cross-site");
    assert_eq!(cross.get("/api/v1/hosts").status, 403);
    let link = attacked.grid.must(&["ui", "--print", "--quiet"]).stdout;
    let code = link.trim().rsplit_once("#code=").unwrap().1.to_owned();
    let login = attacked.page.with("sec-fetch-site", "cross-site");
    assert_eq!(login.post("/api/v1/login", &json!({ "code": code }).to_string()).status, 403);
    let cookie = attacked.page.post("/api/v1/login", &json!({ "code": code }).to_string());
    let cookie = cookie.header("set-cookie");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    assert!(attacked.grid.must(&["ticket", "ls", "--json"]).json()["tickets"].as_array().unwrap().len() == 1);
}

#[test]
fn a_browser_is_told_to_run_and_frame_nothing_of_others() {
    let attacked = Attacked::new();
    for path in ["/", "/api/v1/status", "/nothing", "/metrics", "/page/nothing"] {
        let answer = attacked.page.get(path);
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{path}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), "", "{path}");
    }
}

#[test]
fn paths_lead_nowhere_else() {
    let attacked = Attacked::new();
    let paths = [
        "/page/../../etc/passwd",
        "/page/%2e%2e/%2e%2e/etc/passwd",
        "/page/..%2f..%2f..%2fetc%2fpasswd",
        "/page//etc/passwd",
        "/page/index.html%00.js",
        "/page/%c0%ae%c0%ae/etc/passwd",
        "//evil.example/page/main.js",
        "/api/v1/../../metrics",
        "/API/V1/status",
    ];
    for path in paths {
        let answer = attacked.page.get(path);
        assert!(matches!(answer.status, 400 | 401 | 404), "{path}: {answer:?}");
        assert!(!answer.body.contains("root:"), "{path}");
    }
    let absolute = attacked.page.get("http://evil.example/api/v1/status");
    assert!(matches!(absolute.status, 400 | 401 | 404 | 421), "{absolute:?}");
}

#[test]
fn a_token_is_good_for_nothing_if_it_is_wrong_or_for_less_than_is_asked() {
    let attacked = Attacked::new();
    let good = attacked.token("viewer");
    let viewer = attacked.page.token(&good);
    assert_eq!(viewer.get("/api/v1/status").status, 200);
    for wrong in [
        "",
        "gridtoken1",
        &good[..good.len() - 1],
        &good.replace("gridtoken1", "gridtoken2"),
        &"a".repeat(4000),
    ] {
        assert_eq!(attacked.page.token(wrong).get("/api/v1/status").status, 401, "{wrong}");
    }
    assert_eq!(
        attacked.page.with("authorization", &format!("Basic {good}")).get("/api/v1/status").status,
        401
    );
    // A bad token is not made good by a session beside it.
    assert_eq!(attacked.admin.with("authorization", "Bearer x").get("/api/v1/status").status, 401);
    assert_eq!(viewer.post("/api/v1/tickets", r#"{"role":"admin","hours":1}"#).status, 403);
    // A token makes no link that would outlive it.
    let client = attacked.page.token(&attacked.token("client"));
    assert_eq!(client.post("/api/v1/keys/x/trust", r#"{"role":"admin"}"#).status, 400);
}

#[test]
fn a_cookie_is_good_for_nothing_if_it_is_guessed_or_of_another_manager() {
    let attacked = Attacked::new();
    let other = Attacked::new();
    let port = attacked.page.address().rsplit_once(':').unwrap().1;
    for secret in ["", "0", &"0".repeat(64), &"f".repeat(10_000)] {
        let page = attacked.page.with("cookie", &format!("grid-session-{port}={secret}"));
        assert_eq!(page.get("/api/v1/me").status, 401, "{} bytes", secret.len());
    }
    assert_eq!(other.admin.get("/api/v1/me").status, 200);
    let theirs = other.grid.must(&["ui", "--print", "--quiet"]).stdout;
    let code = theirs.trim().rsplit_once("#code=").unwrap().1.to_owned();
    assert_eq!(attacked.page.post("/api/v1/login", &json!({ "code": code }).to_string()).status, 403);
}

#[test]
fn oversized_requests_are_refused_before_they_are_read() {
    let attacked = Attacked::new();
    let long = attacked.admin.with("content-type", "application/json");
    let head = long.with("content-length", "10000000000").head("POST", "/api/v1/tickets");
    assert_eq!(long.raw(head.as_bytes()).status, 413);
    let many = attacked.admin.with("x-pad", &"a".repeat(40_000)).get("/api/v1/status");
    assert!(matches!(many.status, 431 | 400), "{many:?}");
    let pads: String = (0..200).map(|number| format!("x-{number}: 1\r\n")).collect();
    let headers = attacked.page.raw(format!("GET / HTTP/1.1\r\nhost: localhost\r\n{pads}\r\n").as_bytes());
    assert!(matches!(headers.status, 431 | 400), "{headers:?}");
    let uri = attacked.page.get(&format!("/api/v1/{}", "a".repeat(60_000)));
    assert!(matches!(uri.status, 414 | 431 | 400), "{}", uri.status);
    let tasks = attacked.admin.with("content-length", &(1_u64 << 40).to_string());
    let head = tasks.head("POST", "/api/v1/jobs?module=primes");
    assert_eq!(tasks.raw(head.as_bytes()).status, 413);
    let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    assert_eq!(attacked.admin.post("/api/v1/tickets", &deep).status, 400);
    let viewer = attacked.page.token(&attacked.token("viewer"));
    let module = viewer.with("content-type", "multipart/form-data; boundary=x");
    assert_eq!(module.ask("POST", "/api/v1/modules", b"--x--").status, 403, "refused before its body");
}

#[test]
fn slow_and_silent_peers_do_not_keep_others_out() {
    let attacked = Attacked::new();
    let mut slow: Vec<_> = (0..60).map(|_| attacked.page.connect()).collect();
    for stream in &mut slow {
        stream.write_all(b"GET /api/v1/status HTTP/1.1\r\nhost: local").unwrap();
    }
    let began = Instant::now();
    assert_eq!(attacked.admin.get("/api/v1/status").status, 200);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // More of one address are turned away at once, and those that are let go make room.
    let mut turned_away: Vec<_> = (0..20).map(|_| attacked.page.connect()).collect();
    let closed = turned_away.iter_mut().filter_map(|stream| {
        stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        stream.read(&mut [0]).ok()
    });
    assert!(closed.count() >= 10, "those of one address have a limit");
    drop(slow);
    drop(turned_away);
    let freed = Instant::now();
    while attacked.admin.get("/api/v1/status").status != 200 {
        assert!(freed.elapsed() < Duration::from_secs(10), "there is room again");
    }
}

#[test]
fn whoever_asks_too_often_is_told_to_wait() {
    let attacked = Attacked::new();
    let token = attacked.page.token(&attacked.token("viewer"));
    // On one connection, one after the other, so that they come fast on a slow machine, too.
    let many = token.head("GET", "/api/v1/hosts").repeat(600);
    let last = token.with("connection", "close").head("GET", "/api/v1/hosts");
    let mut stream = token.connect();
    let mut reader = stream.try_clone().unwrap();
    let answers = std::thread::spawn(move || {
        let mut answers = Vec::new();
        let _ = reader.read_to_end(&mut answers);
        answers
    });
    stream.write_all(&[many.as_bytes(), last.as_bytes()].concat()).unwrap();
    let answers = String::from_utf8_lossy(&answers.join().unwrap()).into_owned();
    let count = |status: &str| answers.matches(&format!("HTTP/1.1 {status} ")).count();
    assert_eq!(count("200") + count("429"), 601);
    assert!(count("200") >= 200 && count("429") > 100, "{} were answered", count("200"));
    let guesses: Vec<_> =
        (0..40).map(|_| attacked.page.post("/api/v1/login", r#"{"code":"00"}"#).status).collect();
    assert!(guesses.contains(&429) && !guesses.contains(&200), "{guesses:?}");
}

#[test]
fn requests_that_are_not_http_end_without_an_answer_that_harms() {
    let attacked = Attacked::new();
    let smuggled = "POST /api/v1/login HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /api/v1/status HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for bytes in [
        &b"\x16\x03\x01\x02\x00"[..],
        b"GET\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        smuggled.as_bytes(),
    ] {
        let mut stream = attacked.page.connect();
        stream.write_all(bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        let said = String::from_utf8_lossy(&said);
        assert!(!said.contains(" 200 "), "{said}");
    }
    assert_eq!(attacked.admin.get("/api/v1/status").status, 200);
}

#[test]
fn names_that_people_choose_come_as_data_and_cannot_begin_another_event() {
    let attacked = Attacked::new();
    let grid = &attacked.grid;
    let token = grid.grid(&["key", "token", "--quiet", "--name", SCRIPT]);
    assert_eq!(token.code, 0, "{token:?}");
    let broken = grid.grid(&["key", "token", "--quiet", "--name", "a\ndata: b"]);
    assert_ne!(broken.code, 0, "a name with a line break");
    let tokens = attacked.admin.get("/api/v1/tokens");
    assert_eq!(tokens.header("content-type"), "application/json");
    assert_eq!(tokens.json()["tokens"][0]["name"], json!(SCRIPT));
    // What is refused is quoted, and stays data.
    let wrong = attacked.admin.get(&format!("/api/v1/jobs/{}", "%3Cscript%3Ealert(1)%3C%2Fscript%3E"));
    assert_eq!(wrong.header("content-type"), "application/problem+json");
    assert_eq!(wrong.status, 400);
}
