//! Request and reply through a NATS server, in its own protocol of text lines.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use crate::{MESSAGE, ROUNDS, median};

/// The subject of requests, and that of their answers.
const SUBJECTS: [&str; 2] = ["echo", "answers"];

/// Answers every request with what it says.
pub(crate) fn echo(address: &str) {
    let mut connection = NatsConnection::open(address, SUBJECTS[0]);
    println!("ready");
    loop {
        let message = connection.receive();
        connection.publish(SUBJECTS[1], &message);
    }
}

/// Prints the median of a request and its answer, in microseconds.
pub(crate) fn rounds(address: &str) {
    let mut connection = NatsConnection::open(address, SUBJECTS[1]);
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let started = Instant::now();
        connection.publish(SUBJECTS[0], &MESSAGE);
        assert_eq!(connection.receive(), MESSAGE);
        times.push(started.elapsed());
    }
    println!("{}", median(times).as_secs_f64() * 1e6);
}

/// A connection with one subscription.
struct NatsConnection {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
}

impl NatsConnection {
    fn open(address: &str, subject: &str) -> Self {
        let writer = TcpStream::connect(address).unwrap();
        writer.set_nodelay(true).unwrap();
        let mut connection = Self { reader: BufReader::new(writer.try_clone().unwrap()), writer };
        assert!(connection.line().starts_with("INFO "));
        let hello = format!("CONNECT {{\"verbose\":false}}\r\nSUB {subject} 1\r\nPING\r\n");
        connection.writer.write_all(hello.as_bytes()).unwrap();
        assert_eq!(connection.line(), "PONG");
        connection
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn publish(&mut self, subject: &str, message: &[u8]) {
        let head = format!("PUB {subject} {}\r\n", message.len());
        self.writer.write_all(&[head.as_bytes(), message, b"\r\n"].concat()).unwrap();
    }

    /// The next message; answers what the server asks in between.
    fn receive(&mut self) -> Vec<u8> {
        loop {
            let line = self.line();
            if line == "PING" {
                self.writer.write_all(b"PONG\r\n").unwrap();
            } else if line.starts_with("MSG ") {
                let length: usize = line.rsplit(' ').next().unwrap().parse().unwrap();
                // The message ends with an end of line.
                let mut message = vec![0; length + 2];
                self.reader.read_exact(&mut message).unwrap();
                message.truncate(length);
                return message;
            } else {
                panic!("{line}");
            }
        }
    }
}
