//! What `deploy/` gives to Prometheus and Grafana, beside a real manager and a real Prometheus.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use grid_tests::{ChildProcess, Grid, Page, Said, module};
use serde_json::{Value, json};

fn deploy(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(path)
}

/// A grid that has done tasks, some of which failed, so that every metric has a value.
struct Worked {
    grid: Grid,
    _host: ChildProcess,
    /// What the manager shows.
    page: Page,
    /// What the host shows.
    host_page: Page,
}

fn worked() -> Worked {
    let grid = Grid::closed();
    let mut host = grid.host("one", &["--slots", "2", "--metrics", "127.0.0.1:0"]);
    let primes = module("primes").to_string_lossy().into_owned();
    let said = grid.grid_given(&["run", "--retries", "0", &primes], "[0,1000]\n[1000,2000]\n\"nonsense\"\n");
    assert_eq!(said.code, 8, "{said:?}");
    assert_eq!(grid.grid(&["worker", "logs", "w9.9"]).code, 5);
    assert_eq!(grid.grid_as("stranger", &["--manager", grid.address(), "status"]).code, 4);
    let page = Page::at(&grid.page());
    // The manager waits for a stranger to read why it is refused before it counts it.
    let began = Instant::now();
    while !page.get("/metrics").body.contains("grid_peers_refused_total{") {
        assert!(began.elapsed() < Duration::from_secs(20), "nobody was refused");
    }
    let host_page = Page::of_host(&mut host);
    Worked { grid, _host: host, page, host_page }
}

impl Worked {
    /// What both show.
    fn pages(&self) -> [&Page; 2] {
        [&self.page, &self.host_page]
    }
}

/// The names of metrics in a text.
fn names(text: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !word(c)).filter(|name| name.starts_with("grid_")).map(str::to_owned).collect()
}

#[test]
fn every_name_in_the_rules_and_the_boards_is_one_that_the_manager_or_a_host_shows() {
    let worked = worked();
    let [of_manager, of_host] = worked.pages().map(|page| names(&page.get("/metrics").body));
    let files = [
        ("prometheus/grid.rules.yml", &of_manager),
        ("grafana/grid.json", &of_manager),
        ("prometheus/hosts.rules.yml", &of_host),
        ("grafana/hosts.json", &of_host),
    ];
    for (file, shown) in files {
        let used = names(&std::fs::read_to_string(deploy(file)).unwrap());
        assert!(used.len() > 5, "{file}: {used:?}");
        assert_eq!(used.difference(shown).collect::<Vec<_>>(), Vec::<&String>::new(), "{file}");
    }
    // A sum over one name would count what both show twice.
    assert_eq!(of_manager.intersection(&of_host).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn promtool_finds_nothing_wrong_with_the_metrics_and_the_rules() {
    for page in worked().pages() {
        let body = page.get("/metrics").body;
        let metrics = Said::of(Command::new("promtool").args(["check", "metrics"]), body.as_bytes());
        assert_eq!((metrics.code, &*metrics.stderr), (0, ""), "{}\n{body}", metrics.stdout);
    }
    for rules in ["prometheus/grid.rules.yml", "prometheus/hosts.rules.yml"] {
        let rules = Said::of(Command::new("promtool").args(["check", "rules"]).arg(deploy(rules)), b"");
        assert_eq!(rules.code, 0, "{rules:?}");
    }
    let config = Said::of(
        Command::new("promtool").args(["check", "config"]).arg(deploy("prometheus/prometheus.yml")),
        b"",
    );
    assert_eq!(config.code, 0, "{config:?}");
}

#[test]
fn jobs_and_tasks_add_no_series() {
    let worked = worked();
    let grid = &worked.grid;
    let series = |page: &Page| {
        let body = page.get("/metrics").body;
        body.lines().filter(|line| !line.starts_with('#')).count()
    };
    let before = worked.pages().map(series);
    let primes = module("primes").to_string_lossy().into_owned();
    let tasks: String = (0..100).map(|number| format!("[{number},{number}]\n")).collect();
    for _ in 0..5 {
        assert_eq!(grid.grid_given(&["run", &primes], &tasks).code, 0);
    }
    assert_eq!(worked.pages().map(series), before);
}

#[test]
fn a_real_prometheus_scrapes_the_manager_and_evaluates_every_expression() {
    let Worked { grid, _host, page, host_page } = worked();
    let mut config = std::fs::read_to_string(deploy("prometheus/prometheus.yml")).unwrap();
    config = config.replace("127.0.0.1:4748", page.address()).replace("15s", "1s");
    config = config.replace("127.0.0.1:4749", host_page.address());
    for rules in ["grid.rules.yml", "hosts.rules.yml"] {
        let path = deploy("prometheus").join(rules).canonicalize().unwrap();
        config = config.replace(rules, &path.to_string_lossy());
    }
    let file = grid.folder("prometheus.yml");
    std::fs::write(&file, config).unwrap();
    // A port that was free a moment ago: Prometheus does not say which one it chose.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", file.display()));
    command.arg(format!("--storage.tsdb.path={}", grid.folder("tsdb").display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let mut process = ChildProcess::start("prometheus", &mut command);
    process.wait_for("Server is ready to receive web requests");
    let prometheus = Page::at(&format!("127.0.0.1:{port}"));
    let scraped = |expression: &str| -> Value {
        let escaped: String = expression.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let answer = prometheus.get(&format!("/api/v1/query?query={escaped}"));
        assert_eq!(answer.status, 200, "{expression}: {}", answer.body);
        answer.json()["data"]["result"].clone()
    };
    let began = Instant::now();
    while scraped("grid_tasks_done_total") == json!([]) {
        assert!(began.elapsed() < Duration::from_secs(40), "it scrapes nothing");
    }
    assert_eq!(scraped("grid_tasks_done_total")[0]["value"][1], json!("2"));
    assert_eq!(scraped("sum(grid_attempts_failed_total)")[0]["value"][1], json!("1"));
    let began = Instant::now();
    while scraped("grid_host_connected") == json!([]) {
        assert!(began.elapsed() < Duration::from_secs(40), "it does not scrape the host");
    }
    assert_eq!(scraped("sum(grid_host_tasks_ended_total)")[0]["value"][1], json!("3"));
    let mut expressions: Vec<_> = ["grafana/grid.json", "grafana/hosts.json"].map(shown_by).concat();
    let rules = prometheus.get("/api/v1/rules").json();
    let groups = rules["data"]["groups"].as_array().unwrap();
    let rules: Vec<_> = groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).collect();
    assert_eq!(rules.len(), 14);
    expressions.extend(rules.iter().map(|rule| rule["query"].as_str().unwrap().to_owned()));
    expressions.iter().for_each(|expression| drop(scraped(expression)));
    assert!(expressions.len() > 50, "{expressions:?}");
}

/// The expressions of a board.
fn shown_by(board: &str) -> Vec<String> {
    let board: Value = serde_json::from_str(&std::fs::read_to_string(deploy(board)).unwrap()).unwrap();
    let panels = board["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}
