//! A network between the cache and its server, which can be stopped.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What it does with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Pass,
    /// Holds all that the server sends, as a network does that has lost the way.
    Hold,
    /// Passes on what the server sends a millisecond later, in small pieces.
    Trickle,
}

pub struct Proxy {
    port: u16,
    mode: watch::Sender<Mode>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub async fn start(server_port: u16) -> Self {
        let listener = TcpListener::bind("[::1]:0").await.expect("the loopback has ports");
        let port = listener.local_addr().expect("it has an address").port();
        let (mode, modes) = watch::channel(Mode::Pass);
        let task = tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.expect("it listens");
                let Ok(far) = TcpStream::connect(("::1", server_port)).await else { continue };
                let (near_read, near_write) = near.into_split();
                let (far_read, far_write) = far.into_split();
                let always = Arc::new(watch::channel(Mode::Pass).0);
                let modes = modes.clone();
                tokio::spawn(async move {
                    let _ = copy(near_read, far_write, always.subscribe()).await;
                    drop(always);
                });
                tokio::spawn(async move { copy(far_read, near_write, modes).await });
            }
        });
        Self { port, mode, task }
    }

    pub fn url(&self) -> String {
        format!("redis://[::1]:{}/", self.port)
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut modes: watch::Receiver<Mode>,
) -> io::Result<()> {
    let mut block = [0; 4096];
    loop {
        let length = from.read(&mut block).await?;
        if length == 0 {
            return Ok(());
        }
        let mode = *modes.wait_for(|&mode| mode != Mode::Hold).await.map_err(io::Error::other)?;
        if mode == Mode::Trickle {
            for piece in block[..length].chunks(7) {
                tokio::time::sleep(Duration::from_millis(1)).await;
                to.write_all(piece).await?;
            }
        } else {
            to.write_all(&block[..length]).await?;
        }
    }
}
