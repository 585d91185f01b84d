//! A gRPC service and its clients, by tonic: an echo as a single answer, as a stream of answers, and
//! as a conversation.

use std::convert::Infallible;
use std::net::SocketAddr;

use futures::{Stream, StreamExt, stream};
use hyper::Uri;
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::http::uri::PathAndQuery;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;
use tonic::body::Body;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::service_fn;

const SAY: &str = "/waggle.test.Echo/Say";
const REPEAT: &str = "/waggle.test.Echo/Repeat";
const CONVERSE: &str = "/waggle.test.Echo/Converse";

/// What is sent, and comes back.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Words {
    /// The text.
    #[prost(string, tag = "1")]
    pub text: String,
    /// How often it is to come back, where that is asked.
    #[prost(uint32, tag = "2")]
    pub times: u32,
}

impl Words {
    /// A text, to come back so many times.
    pub fn new(text: &str, times: u32) -> Self {
        Self { text: text.to_owned(), times }
    }
}

/// The service at one address: HTTP/2 from the first byte.
#[derive(Debug)]
pub struct Echo {
    _task: AbortOnDropHandle<()>,
}

impl Echo {
    /// Serves at an address. Every response has the metadata `x-by: NAME`.
    pub async fn start(address: SocketAddr, name: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let name = name.to_owned();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let name = name.clone();
                let service = hyper::service::service_fn(move |request| {
                    let name = name.clone();
                    async move { Ok::<_, Infallible>(answer(request, &name).await) }
                });
                let protocol = http2::Builder::new(TokioExecutor::new());
                tokio::spawn(protocol.serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok(Self { _task: AbortOnDropHandle::new(task) })
    }
}

async fn answer(request: hyper::Request<Incoming>, name: &str) -> hyper::Response<Body> {
    let mut grpc = tonic::server::Grpc::new(codec());
    let mut response = match request.uri().path() {
        SAY => grpc.unary(service_fn(say), request).await,
        REPEAT => grpc.server_streaming(service_fn(repeat), request).await,
        CONVERSE => grpc.streaming(service_fn(converse), request).await,
        path => Status::unimplemented(path).into_http(),
    };
    if let Ok(name) = name.parse() {
        response.headers_mut().insert("x-by", name);
    }
    response
}

/// Says it once; without a text, that is an error with details.
async fn say(request: Request<Words>) -> Result<Response<Words>, Status> {
    let words = request.into_inner();
    if words.text.is_empty() {
        let status = Status::with_details(Code::FailedPrecondition, "no words", "detail".into());
        return Err(status);
    }
    Ok(Response::new(words))
}

type Said = stream::BoxStream<'static, Result<Words, Status>>;

/// Says it so many times; then the stream ends with an error, and the metadata `x-sent: TIMES`.
async fn repeat(request: Request<Words>) -> Result<Response<Said>, Status> {
    let words = request.into_inner();
    let times = words.times;
    let said = stream::iter(0..times).map(move |_| Ok(words.clone()));
    let mut end = Status::resource_exhausted("out of breath");
    end.metadata_mut().insert("x-sent", times.into());
    Ok(Response::new(said.chain(stream::iter([Err(end)])).boxed()))
}

/// Says each thing as soon as it comes.
async fn converse(request: Request<Streaming<Words>>) -> Result<Response<Said>, Status> {
    Ok(Response::new(request.into_inner().boxed()))
}

/// A client on one connection.
pub struct EchoClient {
    sender: SendRequest<Body>,
    origin: Uri,
}

impl EchoClient {
    /// Speaks HTTP/2 on a stream, for an origin such as `https://grpc.local`.
    pub async fn connect<S>(stream: S, origin: &str) -> anyhow::Result<Self>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender, origin: origin.parse()? })
    }

    /// Says something and gets it back.
    pub async fn say(&self, words: Words) -> Result<Response<Words>, Status> {
        let path = PathAndQuery::from_static(SAY);
        self.grpc().unary(Request::new(words), path, codec()).await
    }

    /// Says something and gets it back as often as it asks for.
    pub async fn repeat(&self, words: Words) -> Result<Response<Streaming<Words>>, Status> {
        let path = PathAndQuery::from_static(REPEAT);
        self.grpc().server_streaming(Request::new(words), path, codec()).await
    }

    /// Says things and gets each back as soon as it is said.
    pub async fn converse(
        &self,
        words: impl Stream<Item = Words> + Send + 'static,
    ) -> Result<Response<Streaming<Words>>, Status> {
        let path = PathAndQuery::from_static(CONVERSE);
        self.grpc().streaming(Request::new(words), path, codec()).await
    }

    /// Calls a method that the service does not have.
    pub async fn call_unknown(&self) -> Result<Response<Words>, Status> {
        let path = PathAndQuery::from_static("/waggle.test.Echo/Unknown");
        self.grpc().unary(Request::new(Words::default()), path, codec()).await
    }

    fn grpc(
        &self,
    ) -> tonic::client::Grpc<
        impl tower::Service<
            hyper::Request<Body>,
            Response = hyper::Response<Incoming>,
            Error = hyper::Error,
            Future: Send,
        >,
    > {
        let sender = self.sender.clone();
        let call = service_fn(move |request| sender.clone().send_request(request));
        tonic::client::Grpc::with_origin(call, self.origin.clone())
    }
}

fn codec() -> ProstCodec<Words, Words> {
    ProstCodec::default()
}
