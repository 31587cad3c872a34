//! A small HTTP server before a registry: passes on what it doesn't answer itself.

use std::sync::{Arc, Mutex};

use reqwest::{Client, Method};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What was asked.
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) authorization: Option<String>,
    content_type: Option<String>,
    body: Vec<u8>,
}

/// Where the relay is. Dropping it ends it.
pub(super) struct Relay {
    pub(super) url: String,
    answers: Answers,
    _serving: JoinSet<()>,
}

/// Status and body of what was answered.
type Answers = Arc<Mutex<Vec<(u16, String)>>>;

impl Relay {
    /// A relay before `target`; what `refuse` gives is answered instead.
    pub(super) async fn before(
        target: &str,
        refuse: impl Fn(&Asked) -> Option<(u16, Value)> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (host, path) = target.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let origin = format!("http://{host}");
        let url = format!("http://{}/{path}", listener.local_addr().unwrap());
        let (refuse, answers) = (Arc::new(refuse), Answers::default());
        let kept = Arc::clone(&answers);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (origin, refuse) = (origin.clone(), Arc::clone(&refuse));
                let kept = Arc::clone(&kept);
                open.spawn(async move {
                    // A client that goes away is the test's own.
                    let _ = serve(stream, &origin, &*refuse, &kept).await;
                });
            }
        });
        Self { url, answers, _serving: serving }
    }

    /// What was answered last with this status.
    pub(super) fn last_answer_of(&self, status: u16) -> String {
        let answers = self.answers.lock().unwrap();
        answers.iter().rfind(|(answered, _)| *answered == status).unwrap().1.clone()
    }
}

/// Answers one request, and closes.
async fn serve(
    mut stream: TcpStream,
    origin: &str,
    refuse: &(impl Fn(&Asked) -> Option<(u16, Value)> + Sync),
    answers: &Mutex<Vec<(u16, String)>>,
) -> std::io::Result<()> {
    let asked = read(&mut stream).await?;
    let (status, body) = match refuse(&asked) {
        Some((status, body)) => (status, body.to_string()),
        None => pass_on(origin, asked).await,
    };
    answers.lock().unwrap().push((status, body.clone()));
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

async fn pass_on(origin: &str, asked: Asked) -> (u16, String) {
    let method = Method::from_bytes(asked.method.as_bytes()).unwrap();
    let mut request = Client::new().request(method, format!("{origin}{}", asked.path));
    if let Some(content_type) = asked.content_type {
        request = request.header("content-type", content_type).body(asked.body);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

async fn read(stream: &mut TcpStream) -> std::io::Result<Asked> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    };
    let text = String::from_utf8(bytes[..head].to_vec()).unwrap();
    let mut lines = text.lines();
    let mut first = lines.next().unwrap().split(' ').map(str::to_owned);
    let header = |name: &str| {
        let found = text.lines().skip(1).filter_map(|line| line.split_once(": "));
        let mut found = found.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.to_owned())
    };
    let length: usize = header("content-length").map_or(0, |text| text.parse().unwrap());
    let mut body = bytes.split_off(head + 4);
    while body.len() < length {
        if stream.read_buf(&mut body).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Asked {
        method: first.next().unwrap(),
        path: first.next().unwrap(),
        authorization: header("authorization"),
        content_type: header("content-type"),
        body,
    })
}
