//! gRPC through the proxy, to tasks that speak HTTP/2.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use futures::StreamExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use waggle_tests::authority::Authority;
use waggle_tests::engine::Builder;
use waggle_tests::grpc::{Echo, EchoClient, Words};
use waggle_tests::program::eventually;
use waggle_tests::stage::{APP_PORT, Stage};
use waggle_tests::tls::TlsClient;

const HOST: &str = "grpc.local";

/// Creates a service whose tasks are gRPC servers.
async fn deploy(stage: &mut Stage, builder: Builder) -> Result<Vec<Echo>> {
    let service = builder.label("waggle.backend_protocol", "h2").create();
    let mut servers = Vec::new();
    for task in service.tasks() {
        let address = SocketAddr::new(task.address(), APP_PORT);
        servers.push(Echo::start(address, &address.to_string()).await?);
    }
    stage.settle().await?;
    Ok(servers)
}

/// Every kind of call, with what comes after its messages.
async fn speak(client: &EchoClient) -> Result<()> {
    let hello = Words::new("hello", 3);
    let answer = client.say(hello.clone()).await?;
    ensure!(*answer.get_ref() == hello && answer.metadata().contains_key("x-by"), "{answer:?}");
    ensure!(answer.metadata().contains_key("x-upstream-addr"), "{answer:?}");

    let Err(refused) = client.say(Words::new("", 0)).await else { anyhow::bail!("no error") };
    let whole = refused.code() == Code::FailedPrecondition
        && refused.message() == "no words"
        && refused.details() == b"detail";
    ensure!(whole, "{refused:?}");
    let Err(unknown) = client.call_unknown().await else { anyhow::bail!("no error") };
    ensure!(unknown.code() == Code::Unimplemented, "{unknown:?}");

    let large = Words::new(&"x".repeat(64 * 1024), 100);
    let mut stream = client.repeat(large.clone()).await?.into_inner();
    for message in 0..100 {
        ensure!(stream.message().await?.as_ref() == Some(&large), "message {message}");
    }
    let Err(end) = stream.message().await else { anyhow::bail!("no error at the end") };
    let sent = end.metadata().get("x-sent").and_then(|it| it.to_str().ok());
    ensure!(end.code() == Code::ResourceExhausted && sent == Some("100"), "{end:?}");
    converse(client).await
}

/// Each answer comes before the next thing is said: nothing waits for the end of a stream.
async fn converse(client: &EchoClient) -> Result<()> {
    let (say, said) = mpsc::channel(1);
    let mut answers = client.converse(ReceiverStream::new(said)).await?.into_inner();
    for turn in 0..10 {
        let words = Words::new("turn", turn);
        say.send(words.clone()).await?;
        ensure!(answers.next().await.transpose()?.as_ref() == Some(&words), "turn {turn}");
    }
    drop(say);
    ensure!(answers.message().await?.is_none(), "more came");
    ensure!(answers.trailers().await?.is_some(), "no trailers");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_reaches_tasks_over_tls() -> Result<()> {
    let mut stage = Stage::start().await?;
    let authority = Authority::new()?;
    stage.mount_certificate("grpc", &authority.sign(HOST)?)?;
    let builder = stage.service("grpc", HOST).replicas(2);
    let builder = builder.label("com.docker.lb.ssl_cert", "grpc.cert");
    let builder = builder.label("com.docker.lb.ssl_key", "grpc.key");
    let _servers = deploy(&mut stage, builder).await?;
    let tls = TlsClient::new(stage.https, &authority)?;
    let connect = async || Ok(tls.handshake(HOST, &["h2"]).await.ok());
    let stream = eventually("TLS answers", connect).await?;
    let client = EchoClient::connect(stream, "https://grpc.local").await?;
    speak(&client).await?;
    // Calls of one connection are spread over the tasks.
    let mut by = std::collections::BTreeSet::new();
    for _ in 0..10 {
        let answer = client.say(Words::new("who", 0)).await?;
        by.insert(answer.metadata().get("x-by").cloned().map(|it| it.as_bytes().to_vec()));
    }
    ensure!(by.len() == 2, "{by:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_reaches_tasks_without_tls() -> Result<()> {
    let mut stage = Stage::start().await?;
    let builder = stage.service("grpc", HOST);
    let _servers = deploy(&mut stage, builder).await?;
    let stream = TcpStream::connect(stage.http).await?;
    speak(&EchoClient::connect(stream, "http://grpc.local").await?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_client_learns_that_no_task_is_there() -> Result<()> {
    let mut stage = Stage::start().await?;
    let builder = stage.service("grpc", HOST).replicas(0);
    deploy(&mut stage, builder).await?;
    for origin in ["http://grpc.local", "http://nobody.local"] {
        let client = EchoClient::connect(TcpStream::connect(stage.http).await?, origin).await?;
        let Err(status) = client.say(Words::new("hello", 1)).await else {
            anyhow::bail!("{origin} answers")
        };
        ensure!(status.code() == Code::Unavailable, "{origin}: {status:?}");
    }
    Ok(())
}
