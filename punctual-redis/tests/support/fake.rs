//! A server that says what a test has written for it, byte by byte.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Answers a command that a test cares for; `None` for those of the set-up and probes.
type Answer = dyn Fn(&[String]) -> Option<String> + Send + Sync;

/// Stopped when it is dropped.
pub struct Fake {
    port: u16,
    connections: Arc<AtomicU32>,
    task: JoinHandle<()>,
}

impl Fake {
    /// What it has to say in answer to the commands that arrive together is sent together.
    pub async fn start(
        answer: impl Fn(&[String]) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("[::1]:0").await.expect("the loopback has ports");
        let port = listener.local_addr().expect("it has an address").port();
        let answer: Arc<Answer> = Arc::new(answer);
        let connections = Arc::new(AtomicU32::new(0));
        let counter = connections.clone();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("it listens");
                counter.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(stream, answer.clone()));
            }
        });
        Self { port, connections, task }
    }

    pub fn url(&self) -> String {
        format!("redis://[::1]:{}/", self.port)
    }

    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, answer: Arc<Answer>) {
    let mut received = Vec::new();
    let mut block = [0; 4096];
    loop {
        match stream.read(&mut block).await {
            Ok(0) | Err(_) => return,
            Ok(length) => received.extend_from_slice(&block[..length]),
        }
        let mut reply = String::new();
        while let Some((command, length)) = first_command(&received) {
            received.drain(..length);
            reply += &answer(&command).unwrap_or_else(|| usual(&command));
        }
        if stream.write_all(reply.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn usual(command: &[String]) -> String {
    match command[0].as_str() {
        "HELLO" => format!("%2\r\n{}{}{}:3\r\n", bulk("server"), bulk("redis"), bulk("proto")),
        "PING" => "+PONG\r\n".to_owned(),
        "CLIENT" | "SELECT" => "+OK\r\n".to_owned(),
        _ => panic!("nothing is written for {command:?}"),
    }
}

/// Parses an array of strings, and says how many bytes it takes.
fn first_command(bytes: &[u8]) -> Option<(Vec<String>, usize)> {
    let mut at = 0;
    let count = number(bytes, &mut at, b'*')?;
    let mut words = Vec::new();
    for _ in 0..count {
        let length = number(bytes, &mut at, b'$')?;
        let word = bytes.get(at..at + length)?;
        bytes.get(at + length + 1)?;
        words.push(String::from_utf8_lossy(word).into_owned());
        at += length + 2;
    }
    Some((words, at))
}

fn number(bytes: &[u8], at: &mut usize, mark: u8) -> Option<usize> {
    let line = &bytes.get(*at..)?;
    let length = line.windows(2).position(|pair| pair == b"\r\n")?;
    assert_eq!(line[0], mark);
    *at += length + 2;
    std::str::from_utf8(&line[1..length]).ok()?.parse().ok()
}

/// A string as the server sends it.
pub fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

/// Tells that a key has changed.
pub fn invalidation(key: &str) -> String {
    format!(">2\r\n{}*1\r\n{}", bulk("invalidate"), bulk(key))
}

/// Tells that everything has changed.
pub fn flush() -> String {
    format!(">2\r\n{}_\r\n", bulk("invalidate"))
}
