//! Envoy's side of Proxy-Wasm 0.2.1 as the filter sees it, on an interpreter: state that tests set
//! and read, no expectations.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;

use wasmi::errors::LinkerError;
use wasmi::{Caller, Config, Engine, Error, Extern, Instance, Linker, Memory, Module, Store};

pub(crate) type Headers = Vec<(Vec<u8>, Vec<u8>)>;

/// Statuses of the ABI.
const OK: u32 = 0;
const NOT_FOUND: u32 = 1;
const BAD_ARGUMENT: u32 = 2;
const INTERNAL_FAILURE: u32 = 10;

/// The root context of the first configuration.
pub(crate) const ROOT: u32 = 1;

/// What Envoy knows.
#[derive(Default)]
pub(crate) struct State {
    /// Nanoseconds since 1970.
    pub(crate) clock: u64,
    /// By the steps to it, joined by dots.
    pub(crate) properties: BTreeMap<&'static str, Vec<u8>>,
    /// What the filter logged or printed.
    pub(crate) log: String,
    /// What calls of the filter come to.
    pub(crate) calls: Calls,
    /// What was counted, by the counter's name. A counter's number is its place.
    pub(crate) counters: Vec<(String, i64)>,
    configuration: Vec<u8>,
    /// By number; a map is there in its own callback only.
    maps: BTreeMap<u32, Headers>,
    random: u8,
}

/// What calls of the filter come to.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Calls {
    #[default]
    Work,
    WorkWithoutRandomness,
    Fail,
}

/// A VM of Envoy with the filter's module in it.
pub(crate) struct Vm {
    store: Store<State>,
    instance: Instance,
    last_context: u32,
}

static CODE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    // Cargo's folder for tests' files is beside its folders of targets, wherever that is.
    let path = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .with_file_name("wasm32-wasip1")
        .join("release/waggle_filter.wasm");
    std::fs::read(&path).unwrap_or_else(|error| {
        panic!("{}: {error}; build the module first: cargo wasm", path.display())
    })
});

static MODULE: LazyLock<Module> = LazyLock::new(|| {
    let mut config = Config::default();
    config.consume_fuel(true);
    Module::new(&Engine::new(&config), CODE.as_slice()).unwrap()
});

/// The module's size in bytes.
pub(crate) fn size() -> usize {
    CODE.len()
}

/// The names of what the module exports.
pub(crate) fn exports() -> BTreeSet<&'static str> {
    MODULE.exports().map(|export| export.name()).collect()
}

/// The names of what the module imports.
pub(crate) fn imports() -> BTreeSet<&'static str> {
    MODULE.imports().map(|import| import.name()).collect()
}

impl Vm {
    /// A VM as Envoy starts it, not yet configured.
    pub(crate) fn start() -> Self {
        let mut store = Store::new(MODULE.engine(), State::default());
        store.set_fuel(u64::MAX).unwrap();
        let mut linker = Linker::new(MODULE.engine());
        link(&mut linker).unwrap();
        forbid_the_rest(&mut linker).unwrap();
        let instance = linker.instantiate_and_start(&mut store, &MODULE).unwrap();
        let mut vm = Self { store, instance, last_context: 0 };
        vm.call::<(), ()>("_initialize", ());
        let root = vm.create_context(0);
        assert_eq!(vm.call::<_, u32>("proxy_on_vm_start", (root, 0_u32)), 1);
        vm
    }

    /// How much work the filter has done: instructions, more or less.
    pub(crate) fn work(&self) -> u64 {
        u64::MAX - self.store.get_fuel().unwrap()
    }

    pub(crate) fn state(&mut self) -> &mut State {
        self.store.data_mut()
    }

    /// A new context: a stream under a root, or a root under 0.
    pub(crate) fn create_context(&mut self, root: u32) -> u32 {
        self.last_context += 1;
        self.call::<_, ()>("proxy_on_context_create", (self.last_context, root));
        self.last_context
    }

    /// Whether the filter takes the configuration.
    pub(crate) fn configure(&mut self, root: u32, configuration: &[u8]) -> bool {
        self.state().configuration = configuration.to_vec();
        let size = u32::try_from(configuration.len()).unwrap();
        self.call::<_, u32>("proxy_on_configure", (root, size)) == 1
    }

    /// What the filter makes of a request's headers.
    pub(crate) fn request(&mut self, stream: u32, headers: Headers) -> Headers {
        self.headers("proxy_on_request_headers", 0, stream, headers)
    }

    /// What the filter makes of a response's headers.
    pub(crate) fn response(&mut self, stream: u32, headers: Headers) -> Headers {
        self.headers("proxy_on_response_headers", 2, stream, headers)
    }

    /// A piece of the body of a `request` or `response`, then trailers.
    pub(crate) fn body_and_trailers(&mut self, way: &str, stream: u32) {
        let piece = (stream, 65_536_u32, 0_u32);
        let body: u32 = self.call(&format!("proxy_on_{way}_body"), piece);
        let trailers: u32 = self.call(&format!("proxy_on_{way}_trailers"), (stream, 1_u32));
        assert_eq!([body, trailers], [0, 0], "the filter holds the {way}");
    }

    /// The end of a context, as Envoy tells it.
    pub(crate) fn delete(&mut self, context: u32) {
        assert_eq!(self.call::<_, u32>("proxy_on_done", context), 1, "the filter holds the stream");
        self.call::<_, ()>("proxy_on_log", context);
        self.call::<_, ()>("proxy_on_delete", context);
    }

    /// The module's memory, in bytes.
    pub(crate) fn memory_size(&self) -> usize {
        self.instance.get_memory(&self.store, "memory").unwrap().data_size(&self.store)
    }

    fn headers(&mut self, callback: &str, map: u32, stream: u32, headers: Headers) -> Headers {
        let count = u32::try_from(headers.len()).unwrap();
        self.state().maps.insert(map, headers);
        let action: u32 = self.call(callback, (stream, count, 1_u32));
        assert_eq!(action, 0, "the filter holds the stream");
        self.state().maps.remove(&map).unwrap()
    }

    fn call<P: wasmi::WasmParams, R: wasmi::WasmResults>(&mut self, name: &str, params: P) -> R {
        let function = self.instance.get_typed_func::<P, R>(&self.store, name).unwrap();
        function
            .call(&mut self.store, params)
            .unwrap_or_else(|error| panic!("{name}: {error}; log: {}", self.store.data().log))
    }
}

type Host<'a> = Caller<'a, State>;

fn link(linker: &mut Linker<State>) -> Result<(), Error> {
    linker
        .func_wrap("env", "proxy_log", |mut host: Host, _level: u32, text: u32, size: u32| {
            let text = read(&host, text, size);
            host.data_mut().log += &String::from_utf8(text).unwrap();
            status(&host, OK)
        })?
        .func_wrap(
            "env",
            "proxy_define_metric",
            |mut host: Host, kind: u32, name: u32, size: u32, out: u32| {
                let name = String::from_utf8(read(&host, name, size)).unwrap();
                let counters = &mut host.data_mut().counters;
                let place = counters.iter().position(|(known, _)| *known == name);
                let place = place.unwrap_or_else(|| {
                    counters.push((name, 0));
                    counters.len() - 1
                });
                write(&mut host, out, &u32::try_from(place).unwrap().to_le_bytes());
                status(&host, if kind == 0 { OK } else { BAD_ARGUMENT })
            },
        )?
        .func_wrap("env", "proxy_increment_metric", |mut host: Host, counter: u32, by: i64| {
            match host.data_mut().counters.get_mut(usize::try_from(counter).unwrap()) {
                Some((_, count)) => *count += by,
                None => return BAD_ARGUMENT,
            }
            status(&host, OK)
        })?
        .func_wrap("env", "proxy_get_current_time_nanoseconds", |mut host: Host, out: u32| {
            let clock = host.data().clock.to_le_bytes();
            write(&mut host, out, &clock);
            status(&host, OK)
        })?
        .func_wrap(
            "env",
            "proxy_get_property",
            |mut host: Host, path: u32, path_size: u32, value: u32, value_size: u32| {
                let path = String::from_utf8(read(&host, path, path_size)).unwrap();
                let found = host.data().properties.get(path.replace('\0', ".").as_str()).cloned();
                give(&mut host, found.ok_or(NOT_FOUND), value, value_size)
            },
        )?
        .func_wrap(
            "env",
            "proxy_get_buffer_bytes",
            |mut host: Host, buffer: u32, _start: u32, _max: u32, value: u32, value_size: u32| {
                let configuration = (buffer == 7).then(|| host.data().configuration.clone());
                give(&mut host, configuration.ok_or(BAD_ARGUMENT), value, value_size)
            },
        )?
        .func_wrap(
            "env",
            "proxy_get_header_map_value",
            |mut host: Host, map: u32, name: u32, name_size: u32, value: u32, value_size: u32| {
                let name = read(&host, name, name_size);
                let found = host.data().maps.get(&map).ok_or(BAD_ARGUMENT).and_then(|headers| {
                    let line = headers.iter().find(|(key, _)| *key == name);
                    line.map(|(_, value)| value.clone()).ok_or(NOT_FOUND)
                });
                give(&mut host, found, value, value_size)
            },
        )?
        .func_wrap(
            "env",
            "proxy_get_header_map_pairs",
            |mut host: Host, map: u32, value: u32, value_size: u32| {
                let pairs = host.data().maps.get(&map).map(|headers| serialise(headers));
                give(&mut host, pairs.ok_or(BAD_ARGUMENT), value, value_size)
            },
        )?
        .func_wrap(
            "env",
            "proxy_replace_header_map_value",
            |mut host: Host, map: u32, name: u32, name_size: u32, value: u32, value_size: u32| {
                let line = (read(&host, name, name_size), read(&host, value, value_size));
                edit(&mut host, map, |headers| {
                    headers.retain(|(name, _)| *name != line.0);
                    headers.push(line);
                })
            },
        )?
        .func_wrap(
            "env",
            "proxy_add_header_map_value",
            |mut host: Host, map: u32, name: u32, name_size: u32, value: u32, value_size: u32| {
                let line = (read(&host, name, name_size), read(&host, value, value_size));
                edit(&mut host, map, |headers| headers.push(line))
            },
        )?
        .func_wrap(
            "env",
            "proxy_remove_header_map_value",
            |mut host: Host, map: u32, name: u32, name_size: u32| {
                let removed = read(&host, name, name_size);
                edit(&mut host, map, |headers| headers.retain(|(name, _)| *name != removed))
            },
        )?;
    link_wasi(linker)
}

/// The crate imports calls for whatever it offers. The filter makes none of them.
fn forbid_the_rest(linker: &mut Linker<State>) -> Result<(), Error> {
    for import in MODULE.imports() {
        let (module, name) = (import.module(), import.name());
        let Some(kind) = import.ty().func() else { continue };
        let told = format!("the filter calls {name}");
        let forbidden = linker
            .func_new(module, name, kind.clone(), move |_, _, _| Err(Error::new(told.clone())));
        // What is defined already is what the filter may call.
        match forbidden {
            Ok(_) | Err(LinkerError::DuplicateDefinition { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn link_wasi(linker: &mut Linker<State>) -> Result<(), Error> {
    const WASI: &str = "wasi_snapshot_preview1";
    linker
        .func_wrap(WASI, "random_get", |mut host: Host, out: u32, size: u32| {
            let random = host.data().random.wrapping_add(1);
            host.data_mut().random = random;
            let bytes = vec![random; size as usize];
            write(&mut host, out, &bytes);
            u32::from(host.data().calls != Calls::Work)
        })?
        .func_wrap(WASI, "environ_sizes_get", |mut host: Host, count: u32, size: u32| {
            write(&mut host, count, &[0; 4]);
            write(&mut host, size, &[0; 4]);
            OK
        })?
        .func_wrap(WASI, "environ_get", |_: Host, _: u32, _: u32| OK)?
        .func_wrap(
            WASI,
            "fd_write",
            |mut host: Host, _file: u32, parts: u32, count: u32, written: u32| {
                let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
                let mut total = 0;
                for part in read(&host, parts, count * 8).chunks_exact(8) {
                    let text = read(&host, number(&part[..4]), number(&part[4..]));
                    host.data_mut().log += &String::from_utf8_lossy(&text);
                    total += number(&part[4..]);
                }
                write(&mut host, written, &total.to_le_bytes());
                OK
            },
        )?
        .func_wrap(WASI, "proc_exit", |_: Host, code: u32| -> Result<(), Error> {
            Err(Error::new(format!("the module exits with {code}")))
        })?;
    Ok(())
}

fn memory(host: &Host) -> Memory {
    host.get_export("memory").and_then(Extern::into_memory).unwrap()
}

fn read(host: &Host, address: u32, size: u32) -> Vec<u8> {
    let address = address as usize;
    memory(host).data(host)[address..address + size as usize].to_vec()
}

fn write(host: &mut Host, address: u32, bytes: &[u8]) {
    memory(host).write(host, address as usize, bytes).unwrap();
}

fn status(host: &Host, status: u32) -> u32 {
    if host.data().calls == Calls::Fail { INTERNAL_FAILURE } else { status }
}

/// Gives bytes to the module, in memory that it allocates.
fn give(host: &mut Host, bytes: Result<Vec<u8>, u32>, value: u32, value_size: u32) -> u32 {
    let bytes = match (bytes, status(host, OK)) {
        (Ok(bytes), OK) => bytes,
        (Err(status), OK) | (_, status) => return status,
    };
    let size = u32::try_from(bytes.len()).unwrap();
    let allocate = host.get_export("proxy_on_memory_allocate").and_then(Extern::into_func);
    let allocate = allocate.unwrap().typed::<u32, u32>(&*host).unwrap();
    let address = allocate.call(&mut *host, size).unwrap();
    write(host, address, &bytes);
    write(host, value, &address.to_le_bytes());
    write(host, value_size, &size.to_le_bytes());
    OK
}

fn edit(host: &mut Host, map: u32, act: impl FnOnce(&mut Headers)) -> u32 {
    let found = host.data_mut().maps.get_mut(&map).map(act);
    status(host, found.map_or(BAD_ARGUMENT, |()| OK))
}

fn serialise(headers: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let number = |number: usize| u32::try_from(number).unwrap().to_le_bytes();
    let mut bytes = number(headers.len()).to_vec();
    for (name, value) in headers {
        bytes.extend([number(name.len()), number(value.len())].concat());
    }
    for (name, value) in headers {
        bytes.extend([name.as_slice(), b"\0", value, b"\0"].concat());
    }
    bytes
}
