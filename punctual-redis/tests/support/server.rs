//! A real server on a free port of the loopback, for as long as the value lives.

use std::io::{ErrorKind, Write};
use std::net::{Ipv6Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, io, process, thread};

use redis::{Client, Connection, FromRedisValue};

/// Names the program to start as `redis-server`.
pub const REDIS: &str = "PUNCTUAL_REDIS_SERVER";
/// Names a `valkey-server` to test with, too.
pub const VALKEY: &str = "PUNCTUAL_VALKEY_SERVER";

/// A program that serves.
#[derive(Clone, Debug)]
pub struct Program(PathBuf);

/// Returns the servers to test with. Where this machine has none, says so, even where the output of
/// tests that pass is not shown. One that is named must be there.
pub fn programs() -> Vec<Program> {
    let runs = |path: &PathBuf| {
        let version = Command::new(path).arg("--version").stdout(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    };
    let named = [REDIS, VALKEY].map(|name| env::var_os(name).map(PathBuf::from));
    for path in named.iter().flatten() {
        assert!(runs(path), "{} is no server", path.display());
    }
    let [redis, valkey] = named;
    let usual = PathBuf::from("redis-server");
    let redis = redis.or_else(|| runs(&usual).then_some(usual));
    if redis.is_none() {
        let text =
            "SKIPPED: there is no redis-server. `apt-get install redis-server`, or name one by";
        let _ = writeln!(io::stderr(), "\n{text} {REDIS}");
    }
    redis.into_iter().chain(valkey).map(Program).collect()
}

/// A server, stopped when it is dropped.
#[derive(Debug)]
pub struct Server {
    program: Program,
    port: u16,
    folder: PathBuf,
    child: Option<Child>,
}

impl Server {
    /// Starts one with more arguments, such as `["--maxmemory", "5mb"]`.
    pub fn start(program: &Program, arguments: &[&str]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("punctual-redis-{}-{number}", process::id()));
        fs::create_dir_all(&folder).expect("a folder for the server");
        loop {
            let mut server = Self {
                program: program.clone(),
                port: free_port(),
                folder: folder.clone(),
                child: None,
            };
            // Another program may have taken the port meanwhile.
            if server.start_again(arguments) {
                return server;
            }
        }
    }

    /// Starts it anew on its port, after [`kill`](Self::kill): it has forgotten everything.
    pub fn start_again(&mut self, arguments: &[&str]) -> bool {
        assert!(self.child.is_none(), "it runs");
        let mut command = Command::new(&self.program.0);
        command
            .args(["--port", &self.port.to_string(), "--bind", "::1", "--save", ""])
            .args(["--appendonly", "no", "--daemonize", "no", "--dir"])
            .arg(&self.folder)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = self.child.insert(command.spawn().expect("the server starts"));
        let client = Client::open(format!("redis://[::1]:{}/", self.port)).expect("it is a URL");
        let limit = Instant::now() + Duration::from_secs(20);
        while client.get_connection().is_err() {
            assert!(Instant::now() < limit, "the server does not answer");
            if child.try_wait().expect("it can be asked").is_some() {
                self.child = None;
                return false;
            }
            thread::sleep(Duration::from_millis(5));
        }
        true
    }

    /// Kills it without a chance to say goodbye.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://[::1]:{}/", self.port)
    }

    pub fn client(&self) -> Client {
        Client::open(self.url()).expect("the URL is one")
    }

    /// A connection that has nothing to do with any cache.
    pub fn connection(&self) -> Connection {
        self.client().get_connection().expect("the server answers")
    }

    /// Asks it over a new connection; the words of the command have spaces between them.
    pub fn ask<T: FromRedisValue>(&self, command: impl AsRef<str>) -> T {
        let mut words = command.as_ref().split(' ');
        let mut request = redis::cmd(words.next().expect("a command"));
        for word in words {
            request.arg(word);
        }
        request.query(&mut self.connection()).expect("it answers")
    }

    /// How often a command was called since it was started.
    pub fn calls(&self, command: &str) -> u64 {
        let info: String = self.ask("INFO commandstats");
        let start = format!("cmdstat_{command}:calls=");
        let line = info.lines().find_map(|line| line.strip_prefix(&start));
        line.map_or(0, |rest| rest.split(',').next().unwrap().parse().expect("a number"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => eprintln!("{error}"),
            _ => {}
        }
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).expect("the loopback has ports");
    listener.local_addr().expect("it has an address").port()
}
