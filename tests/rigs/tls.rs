//! TLS on both sides of the proxy: clients that look closely, and applications that speak TLS.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use futures::stream::{self, BoxStream, StreamExt};
use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::{http1, http2};
use hyper::header::HOST;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::{WantsServerCert, WebPkiClientVerifier};
use tokio_rustls::rustls::{ClientConfig, ConfigBuilder, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector, client};
use tokio_util::task::AbortOnDropHandle;

use crate::authority::{Authority, Signed};
use crate::client::Answer;

pub mod programs;

/// What browsers offer.
pub const BOTH: &[&str] = &["h2", "http/1.1"];

/// A client of a proxy that believes one authority.
#[derive(Debug, Clone)]
pub struct TlsClient {
    proxy: SocketAddr,
    source: IpAddr,
    authorities: Arc<RootCertStore>,
}

/// One connection, with the requests that go over it.
#[derive(Debug)]
pub struct Connection {
    sender: Sender,
    /// The certificate that the other side showed, in DER.
    pub certificate: CertificateDer<'static>,
    /// The protocol that both agreed on.
    pub protocol: Option<String>,
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl TlsClient {
    /// A client of the proxy at this address.
    pub fn new(proxy: SocketAddr, authority: &Authority) -> anyhow::Result<Self> {
        let mut authorities = RootCertStore::empty();
        authorities.add(CertificateDer::from_pem_slice(authority.pem().as_bytes())?)?;
        Ok(Self { proxy, source: Ipv4Addr::LOCALHOST.into(), authorities: Arc::new(authorities) })
    }

    /// The same client at another address.
    #[must_use]
    pub fn at(self, source: IpAddr) -> Self {
        Self { source, ..self }
    }

    /// Connects and shakes hands: for this name, offering these protocols.
    pub async fn handshake(
        &self,
        name: &str,
        protocols: &[&str],
    ) -> anyhow::Result<client::TlsStream<TcpStream>> {
        let mut config = ClientConfig::builder()
            .with_root_certificates(Arc::clone(&self.authorities))
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
        let socket = TcpSocket::new_v4()?;
        socket.bind((self.source, 0).into())?;
        let stream = socket.connect(self.proxy).await?;
        let name = ServerName::try_from(name.to_owned())?;
        Ok(TlsConnector::from(Arc::new(config)).connect(name, stream).await?)
    }

    /// Connects for requests: HTTP/2 where the other side takes it from this offer.
    pub async fn connect(&self, name: &str, protocols: &[&str]) -> anyhow::Result<Connection> {
        let stream = self.handshake(name, protocols).await?;
        let (_, session) = stream.get_ref();
        let certificate = session.peer_certificates().and_then(<[_]>::first).cloned();
        let certificate = certificate.context("the other side showed no certificate")?;
        let protocol = session.alpn_protocol().map(|it| String::from_utf8_lossy(it).into_owned());
        let sender = if protocol.as_deref() == Some("h2") {
            let (sender, connection) =
                http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            Sender::Http2(sender)
        } else {
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            Sender::Http1(sender)
        };
        Ok(Connection { sender, certificate, protocol })
    }

    /// `GET` on a connection of its own, for the host that the request names.
    pub async fn get(&self, host: &str, path: &str) -> anyhow::Result<Answer> {
        self.connect(host, BOTH).await?.get(host, path).await
    }

    /// Answers of a host without end, each on a connection of its own.
    pub fn fresh(self, host: &'static str) -> BoxStream<'static, anyhow::Result<Answer>> {
        let ask = async |client: &Self| client.get(host, "/ping").await;
        stream::unfold(self, move |client| async move { Some((ask(&client).await, client)) })
            .boxed()
    }

    /// Answers of a host without end, on one connection for as long as the other side keeps it.
    pub fn kept(
        self,
        host: &'static str,
        protocol: &'static str,
    ) -> BoxStream<'static, anyhow::Result<Answer>> {
        let start: (Self, Option<Connection>) = (self, None);
        stream::unfold(start, move |(client, mut kept)| async move {
            let answer = client.get_on(&mut kept, host, protocol).await;
            Some((answer, (client, kept)))
        })
        .boxed()
    }

    async fn get_on(
        &self,
        kept: &mut Option<Connection>,
        host: &str,
        protocol: &str,
    ) -> anyhow::Result<Answer> {
        if let Some(connection) = kept {
            match connection.get(host, "/ping").await {
                // The other side had ended it: the request was never sent.
                Err(error) if is_unsent(&error) => {}
                answer => return answer,
            }
        }
        kept.insert(self.connect(host, &[protocol]).await?).get(host, "/ping").await
    }
}

fn is_unsent(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<hyper::Error>();
    error.is_some_and(|error| error.is_canceled() || error.is_closed())
}

impl Connection {
    /// `GET` of a path of any host, on this connection.
    pub async fn get(&mut self, host: &str, path: &str) -> anyhow::Result<Answer> {
        let answer = match &mut self.sender {
            Sender::Http1(sender) => {
                let request = Request::get(path).header(HOST, host).body(Full::default())?;
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Sender::Http2(sender) => {
                let request = Request::get(format!("https://{host}{path}")).body(Full::default())?;
                sender.ready().await?;
                sender.send_request(request).await?
            }
        };
        Answer::read(answer).await
    }

    /// Whether the other side showed this certificate.
    pub fn is_with(&self, signed: &Signed) -> anyhow::Result<bool> {
        Ok(self.certificate == CertificateDer::from_pem_slice(signed.certificate.as_bytes())?)
    }
}

/// An application that speaks TLS: takes connections and hands what is in them to one that does not.
#[derive(Debug)]
pub struct TlsFront {
    seen: Arc<Mutex<Vec<Greeting>>>,
    _task: AbortOnDropHandle<()>,
}

/// What a client said when it connected to a [`TlsFront`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// The name that it called (SNI).
    pub name: Option<String>,
    /// The protocol that both agreed on.
    pub protocol: Option<String>,
}

impl TlsFront {
    /// Listens with a certificate, taking these protocols, for the application at `target`.
    pub async fn start(
        address: (IpAddr, u16),
        certificate: &Signed,
        protocols: &[&str],
        target: SocketAddr,
    ) -> anyhow::Result<Self> {
        let config = ServerConfig::builder().with_no_client_auth();
        Self::listen(address, config, certificate, protocols, target).await
    }

    /// The same for clients whose certificates this authority signed, and for no other.
    pub async fn start_mutual(
        address: (IpAddr, u16),
        certificate: &Signed,
        clients: &Authority,
        target: SocketAddr,
    ) -> anyhow::Result<Self> {
        let mut authorities = RootCertStore::empty();
        authorities.add(CertificateDer::from_pem_slice(clients.pem().as_bytes())?)?;
        let verifier = WebPkiClientVerifier::builder(Arc::new(authorities)).build()?;
        let config = ServerConfig::builder().with_client_cert_verifier(verifier);
        Self::listen(address, config, certificate, &["http/1.1"], target).await
    }

    async fn listen(
        address: (IpAddr, u16),
        config: ConfigBuilder<ServerConfig, WantsServerCert>,
        certificate: &Signed,
        protocols: &[&str],
        target: SocketAddr,
    ) -> anyhow::Result<Self> {
        let chain = vec![CertificateDer::from_pem_slice(certificate.certificate.as_bytes())?];
        let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes())?;
        let mut config = config.with_single_cert(chain, key)?;
        config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
        let listener = TcpListener::bind(address).await?;
        let seen: Arc<Mutex<Vec<Greeting>>> = Arc::default();
        let task = tokio::spawn(relay(listener, Arc::new(config), Arc::clone(&seen), target));
        Ok(Self { seen, _task: AbortOnDropHandle::new(task) })
    }

    /// What clients said, in the order in which they came.
    pub fn greetings(&self) -> Vec<Greeting> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn relay(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    seen: Arc<Mutex<Vec<Greeting>>>,
    target: SocketAddr,
) {
    while let Ok((client, _)) = listener.accept().await {
        let (acceptor, seen) = (TlsAcceptor::from(Arc::clone(&config)), Arc::clone(&seen));
        tokio::spawn(async move {
            let mut client = acceptor.accept(client).await?;
            let (_, session) = client.get_ref();
            let protocol =
                session.alpn_protocol().map(|it| String::from_utf8_lossy(it).into_owned());
            let greeting = Greeting { name: session.server_name().map(Into::into), protocol };
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(greeting);
            let mut server = TcpStream::connect(target).await?;
            tokio::io::copy_bidirectional(&mut client, &mut server).await
        });
    }
}
