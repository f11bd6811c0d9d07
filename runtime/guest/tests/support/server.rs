//! A provider made of a script: HTTP/1.1 on a socket of its own. It remembers every request as it arrived.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

type Answer = Pin<Box<dyn Future<Output = String> + Send>>;
type Script = Arc<dyn Fn(String) -> Answer + Send + Sync>;

/// A server at work, for as long as the test's runtime lives.
pub struct Server {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// A server that answers every request, given as head and body, with what the script says.
    pub async fn start<F>(script: impl Fn(String) -> F + Send + Sync + 'static) -> Server
    where
        F: Future<Output = String> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let (noted, script): (_, Script) = (seen.clone(), Arc::new(move |request| Box::pin(script(request))));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, script.clone(), noted.clone()));
            }
        });
        Server { address, seen }
    }

    /// A server that answers every request with an empty 200.
    pub async fn obliging() -> Server {
        Server::start(|_| async { answer(200, "") }).await
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests so far, head and body.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

/// An answer without a body, with these further header lines.
pub fn answer(status: u16, headers: &str) -> String {
    format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n{headers}\r\n")
}

async fn converse(stream: TcpStream, script: Script, seen: Arc<Mutex<Vec<String>>>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await? == 0 {
                return Ok(());
            }
        }
        let length =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        stream.read_exact(&mut body).await?;
        let request = head + &String::from_utf8_lossy(&body);
        seen.lock().unwrap().push(request.clone());
        stream.write_all(script(request).await.as_bytes()).await?;
    }
}
