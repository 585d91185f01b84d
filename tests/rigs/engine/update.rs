//! What the engine takes: the update of a service, with the checks that a manager makes.

use serde_json::Value;

use super::world::World;

/// A status and Docker's words.
type Refusal = (u16, String);

/// Gives a service another specification, if it still is of this version. Its tasks are replaced at
/// once, and the update is complete, where the template of the tasks is another.
pub(super) fn take(
    world: &mut World,
    asked: &str,
    version: u64,
    written: String,
) -> Result<(), Refusal> {
    let known = world.services.values().find(|it| it.id == asked || it.spec.name == asked);
    let service = known.ok_or_else(|| (404, format!("service {asked} not found")))?;
    if service.index != version {
        let words = "rpc error: code = Unknown desc = update out of sequence";
        return Err((500, words.into()));
    }
    let id = service.id.clone();
    let spec: Value = serde_json::from_str(&written).map_err(|error| (400, error.to_string()))?;
    let template = &spec["TaskTemplate"];
    let networks = texts(&template["Networks"], "Target");
    if let Some(unknown) = networks.iter().find(|id| !world.networks.contains_key(*id)) {
        return Err((404, format!("network {unknown} not found")));
    }
    let secrets = list(&template["ContainerSpec"]["Secrets"]);
    let unknown = |secret: &&Value| {
        let name = secret["SecretID"].as_str().and_then(|id| world.secrets.get(id));
        name.map(String::as_str) != secret["SecretName"].as_str()
    };
    if let Some(secret) = secrets.iter().find(unknown) {
        let words = "rpc error: code = InvalidArgument desc = secret not found:";
        return Err((400, format!("{words} {}", secret["SecretName"])));
    }
    let before = (service.spec.networks.clone(), service.spec.secrets.clone());
    let replaced = before != (networks.clone(), secrets.clone());
    let labels = spec["Labels"].as_object().cloned().unwrap_or_default();
    world.update(&id, |spec| {
        (spec.networks, spec.secrets) = (networks, secrets);
        spec.labels = labels
            .iter()
            .map(|(key, it)| (key.clone(), it.as_str().unwrap_or("").into()))
            .collect();
        spec.written = Some(written);
    });
    if replaced {
        replace_tasks(world, &id);
        world.set_update_status(&id, "completed");
    }
    Ok(())
}

fn replace_tasks(world: &mut World, service: &str) {
    let old: Vec<_> =
        world.tasks.values().filter(|task| task.service == service).cloned().collect();
    for task in old {
        world.forget_task(&task.id);
        world.begin(service, task.slot, task.node);
    }
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

fn texts(values: &Value, key: &str) -> Vec<String> {
    list(values).iter().filter_map(|value| value[key].as_str().map(str::to_owned)).collect()
}
