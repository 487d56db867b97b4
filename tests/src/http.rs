//! A small HTTP client that can also break the rules.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::answered::Answered;
use crate::api_description::ApiDescription;

use crate::process::ChildProcess;

/// A page of a manager, as a browser or a program sees it.
pub struct Page {
    address: String,
    headers: Vec<(String, String)>,
    /// What each answer of the API is held against.
    description: Option<Arc<ApiDescription>>,
}

impl Page {
    /// The page at this address, `HOST:PORT`, for somebody who is nobody.
    pub fn at(address: &str) -> Self {
        let address = address.trim_start_matches("http://").to_owned();
        Self { headers: vec![("host".to_owned(), address.clone())], address, description: None }
    }

    /// What a host shows that was started with `--metrics`.
    ///
    /// # Panics
    ///
    /// If the host does not say where that is.
    pub fn of_host(host: &mut ChildProcess) -> Self {
        let line = host.wait_for("metrics are at http://");
        let address = line.split("http://").nth(1).unwrap_or_default();
        Self::at(address.split('/').next().unwrap_or_default())
    }

    /// Asks for `path` repeatedly until `holds` is true of the answer; returns that answer.
    ///
    /// # Panics
    ///
    /// If that takes more than 40 s.
    pub fn wait_until(&self, path: &str, holds: impl Fn(&Answered) -> bool) -> Answered {
        let started = Instant::now();
        loop {
            let answered = self.get(path);
            if holds(&answered) {
                return answered;
            }
            assert!(started.elapsed() < Duration::from_secs(40), "it never came: {answered:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The address, `HOST:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The same page, asked with another value of a header, or without it if the value is empty.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut headers = self.headers.clone();
        headers.retain(|(known, _)| known != name);
        if !value.is_empty() {
            headers.push((name.to_owned(), value.to_owned()));
        }
        Self { address: self.address.clone(), headers, description: self.description.clone() }
    }

    /// The same page, each of whose answers is held against the description of the API from now on.
    #[must_use]
    pub fn described(&self) -> Self {
        let description = ApiDescription::parse(&self.get("/api/v1/openapi.json").body);
        let headers = self.headers.clone();
        Self { address: self.address.clone(), headers, description: Some(Arc::new(description)) }
    }

    /// What its answers are held against.
    ///
    /// # Panics
    ///
    /// If it was not made by [`Self::described`].
    pub fn description(&self) -> &ApiDescription {
        self.description.as_ref().expect("the page is described")
    }

    /// The same page, asked by the bearer of a token.
    #[must_use]
    pub fn token(&self, token: &str) -> Self {
        self.with("authorization", &format!("Bearer {token}"))
    }

    /// The same page, logged in with the code of a link, as its scripts are.
    ///
    /// # Panics
    ///
    /// If nobody is logged in.
    #[must_use]
    pub fn logged_in(&self, link: &str) -> Self {
        let code = link.trim().rsplit_once("#code=").unwrap().1;
        let login = self.post("/api/v1/login", &format!("{{\"code\":\"{code}\"}}"));
        assert_eq!(login.status, 200, "{login:?}");
        let cookie = login.header("set-cookie").split(';').next().unwrap_or_default().to_owned();
        let page = self.with("cookie", &cookie);
        let csrf = page.get("/api/v1/me").json()["csrf"].as_str().unwrap_or_default().to_owned();
        page.with("x-grid-csrf", &csrf)
    }

    /// Asks for something.
    pub fn get(&self, path: &str) -> Answered {
        self.ask("GET", path, b"")
    }

    /// Sends JSON.
    pub fn post(&self, path: &str, body: &str) -> Answered {
        self.with("content-type", "application/json").ask("POST", path, body.as_bytes())
    }

    /// Makes a request.
    ///
    /// # Panics
    ///
    /// If nothing is answered within half a minute, or an answer is not as the description says.
    pub fn ask(&self, method: &str, path: &str, body: &[u8]) -> Answered {
        let closing = self.with("connection", "close");
        let head = match method {
            "GET" => closing.head(method, path),
            _ => closing.with("content-length", &body.len().to_string()).head(method, path),
        };
        let answered = self.raw(&[head.as_bytes(), body].concat());
        if let Some(description) = self.description.as_ref().filter(|_| path.starts_with("/api/v1/")) {
            description.hold(method, path, &answered);
        }
        answered
    }

    /// The head of a request.
    pub fn head(&self, method: &str, path: &str) -> String {
        let headers = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
        format!("{method} {path} HTTP/1.1\r\n{}\r\n", headers.collect::<String>())
    }

    /// Sends bytes as they are, and reads what is answered until the connection ends.
    ///
    /// # Panics
    ///
    /// If nothing is answered within half a minute.
    pub fn raw(&self, bytes: &[u8]) -> Answered {
        let mut stream = self.connect();
        // The server may refuse before it has read everything.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        Answered::parse(&answer)
    }

    /// A connection.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }
}
