//! One request to an HTTP server, over a connection of its own.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{Request, Response, StatusCode};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest time of a request, from the connection to the end of its answer.
const TIME_MAX: Duration = Duration::from_secs(10);

/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// A request was not answered: whoever runs the server, or named it, must act.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnansweredError {
    /// No connection can be made.
    #[error("it cannot be reached: {0}")]
    Unreachable(#[from] std::io::Error),
    /// It does not speak HTTP, or ended the connection.
    #[error("it does not answer as an HTTP server does: {0}")]
    Broken(String),
    /// It took longer than ten seconds.
    #[error("it does not answer within {TIME_MAX:?}")]
    Slow,
    /// It refuses the request.
    #[error("it answers {status}: {text}")]
    Refused {
        /// Its status.
        status: StatusCode,
        /// The beginning of what it said.
        text: String,
    },
}

/// Sends `request` to the server at `address`, a host and a port; gives its answer if it is one of success. Without TLS.
///
/// # Errors
///
/// [`UnansweredError`].
pub async fn send(address: &str, request: Request<Body>) -> Result<Response<Bytes>, UnansweredError> {
    timeout(TIME_MAX, exchange(address, request)).await.unwrap_or(Err(UnansweredError::Slow))
}

async fn exchange(address: &str, request: Request<Body>) -> Result<Response<Bytes>, UnansweredError> {
    let stream = TcpStream::connect(address).await?;
    let broken = |error: hyper::Error| UnansweredError::Broken(error.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let answer = async {
        let (head, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
        let body = to_bytes(Body::new(body), ANSWER_BYTES_MAX).await;
        let body = body.map_err(|error| UnansweredError::Broken(error.to_string()))?;
        if head.status.is_success() {
            return Ok(Response::from_parts(head, body));
        }
        let text: String = String::from_utf8_lossy(&body).chars().take(200).collect();
        Err(UnansweredError::Refused { status: head.status, text })
    };
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        // It has read all that comes: what is left is the answer's end, or why there is none.
        ended = &mut connection => match ended {
            Ok(()) => answer.await,
            Err(error) => Err(broken(error)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// What `send` gives for a server that answers with these bytes and ends the connection.
    async fn answered(answer: &'static str) -> Result<Bytes, UnansweredError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 1024];
            assert!(stream.read(&mut head).await.unwrap() > 0);
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        let request = Request::post("/x").header("host", &address).body(Body::from("asked")).unwrap();
        let answer = send(&address, request).await;
        server.await.unwrap();
        answer.map(Response::into_body)
    }

    #[tokio::test]
    async fn an_answer_of_success_is_given() {
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine";
        assert_eq!(answered(answer).await.unwrap(), "fine");
    }

    #[tokio::test]
    async fn any_other_answer_is_an_error_that_says_what_came() {
        let refused = answered("HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno").await.unwrap_err();
        assert_eq!(refused.to_string(), "it answers 404 Not Found: no");
        assert!(matches!(answered("SSH-2.0\r\n\r\n").await, Err(UnansweredError::Broken(_))));
        assert!(matches!(answered("").await, Err(UnansweredError::Broken(_))));
        let endless = answered("HTTP/1.1 200 OK\r\ncontent-length: 65537\r\n\r\n");
        assert!(matches!(endless.await, Err(UnansweredError::Broken(_))));
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_unreachable() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let request = Request::get("/").body(Body::empty()).unwrap();
        assert!(matches!(send(&address, request).await, Err(UnansweredError::Unreachable(_))));
    }
}
