//! An update goes on while nobody can tell Envoy of it.

use anyhow::Result;

use super::play;

#[tokio::test(flavor = "multi_thread")]
async fn an_update_without_docker_loses_only_posts_that_an_ending_task_was_serving() -> Result<()> {
    play('p').await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_without_controller_loses_only_posts_that_an_ending_task_was_serving()
-> Result<()> {
    play('q').await
}
