//! A daemon made of what a test says: real gRPC on a real socket, answers from a table.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};

use skep_proto::pb;
use skep_proto::pb::control_server::{Control, ControlServer};
use skep_proto::pb::local_server::{Local, LocalServer};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::runtime::Runtime;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

/// What the daemon knows and will say.
#[derive(Default)]
pub(crate) struct Table {
    /// Services by name.
    pub(crate) services: BTreeMap<String, pb::Service>,
    /// So many updates are refused as stale before one is accepted.
    pub(crate) stale_updates: u32,
    /// So many watches break off before one goes through.
    pub(crate) broken_watches: u32,
    /// What a watch says; after the last it stays silent.
    pub(crate) progress: Vec<pb::ServiceProgress>,
    /// What `service logs` says.
    pub(crate) logs: Vec<pb::ServiceLogsReply>,
    /// So many log streams break off after their first reply.
    pub(crate) broken_logs: u32,
    /// Bytes of the last upload, and its header.
    pub(crate) uploaded: (pb::ImageUploadHeader, Vec<u8>),
}

#[derive(Clone, Default)]
struct Answers(Arc<Mutex<Table>>);

/// A running daemon; it ends with this value.
pub(crate) struct Fake {
    answers: Answers,
    dir: TempDir,
    _runtime: Runtime,
}

impl Fake {
    /// Starts one that knows this.
    pub(crate) fn start(table: Table) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let answers = Answers(Arc::new(Mutex::new(table)));
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(async { UnixListener::bind(dir.path().join("skep.sock")).unwrap() });
        let server = Server::builder()
            .add_service(ControlServer::new(answers.clone()))
            .add_service(LocalServer::new(answers.clone()))
            .serve_with_incoming(UnixListenerStream::new(listener));
        runtime.spawn(server);
        Self { answers, dir, _runtime: runtime }
    }

    /// What it knows now.
    pub(crate) fn table(&self) -> MutexGuard<'_, Table> {
        self.answers.table()
    }

    /// A file beside its socket.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The command line, ready to run.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = skep(&self.path("skep.sock"));
        command.args(line.split_whitespace());
        command
    }

    /// Runs a command line to its end.
    pub(crate) fn run(&self, line: &str) -> Told {
        Told::from(self.command(line).output().unwrap())
    }
}

/// The binary under test, speaking to a socket.
pub(crate) fn skep(socket: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skep"));
    command.env("SKEP_HOST", format!("unix://{}", socket.display())).stdin(Stdio::null());
    command
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Told {
    /// Its number.
    pub(crate) code: Option<i32>,
    /// Its standard output.
    pub(crate) out: String,
    /// Its standard error.
    pub(crate) err: String,
}

impl From<Output> for Told {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

/// A service as a manager keeps it.
pub(crate) fn service(name: &str, spec: Option<pb::ServiceSpec>) -> pb::Service {
    let container = pb::ContainerSpec { image: "busybox:latest".into(), ..Default::default() };
    let task = pb::TaskSpec { container: Some(container), ..Default::default() };
    let mode = pb::service_spec::Mode::Replicated(pb::Replicated { replicas: 1 });
    let plain = pb::ServiceSpec { name: name.into(), task: Some(task), mode: Some(mode), ..Default::default() };
    // Ids only have to differ: the letters of the name do.
    let id = name.bytes().fold(1_u128, |id, byte| id.wrapping_mul(257).wrapping_add(byte.into()));
    let meta = pb::Meta { id: id.to_be_bytes().to_vec(), version: 7, created_at: 1, updated_at: 1 };
    pb::Service { meta: Some(meta), spec: Some(spec.unwrap_or(plain)), spec_version: 1, ..Default::default() }
}

/// Its id as text.
pub(crate) fn id(service: &pb::Service) -> String {
    let bytes = service.meta.as_ref().map(|meta| meta.id.clone()).unwrap_or_default();
    skep_proto::model::ServiceId::from_bytes(&bytes).unwrap().to_string()
}

impl Answers {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap()
    }

    fn find(&self, word: &str) -> Result<pb::Service, Status> {
        let found = self.table().services.values().find(|s| id(s) == word || name(s) == word).cloned();
        found.ok_or_else(|| Status::not_found(format!("failed to find service {word:?}: there is none")))
    }
}

fn name(service: &pb::Service) -> String {
    service.spec.as_ref().map(|spec| spec.name.clone()).unwrap_or_default()
}

fn reply(service: pb::Service) -> Response<pb::ServiceReply> {
    Response::new(pb::ServiceReply { service: Some(service), warnings: Vec::new() })
}

type Stream_<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn stream<T: Send + 'static>(items: Vec<T>) -> Response<Stream_<T>> {
    Response::new(Box::pin(tokio_stream::iter(items).map(Ok)))
}

fn not_here<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("failed to answer: this daemon is a test's"))
}

#[tonic::async_trait]
impl Control for Answers {
    type ListServicesStream = Stream_<pb::ServiceEntry>;
    type WatchServiceStream = Stream_<pb::ServiceProgress>;
    type ServiceLogsStream = Stream_<pb::ServiceLogsReply>;
    type ListTasksStream = Stream_<pb::TaskEntry>;
    type ListNodesStream = Stream_<pb::NodeEntry>;
    type WatchNodeStream = Stream_<pb::NodeProgress>;
    type GetBackupStream = Stream_<pb::BackupPart>;

    async fn create_service(
        &self,
        request: Request<pb::CreateServiceRequest>,
    ) -> Result<Response<pb::CreateServiceReply>, Status> {
        let spec = request.into_inner().spec.unwrap_or_default();
        let made = service(&spec.name.clone(), Some(spec));
        self.table().services.insert(name(&made), made.clone());
        Ok(Response::new(pb::CreateServiceReply { meta: made.meta, warnings: Vec::new() }))
    }

    async fn update_service(
        &self,
        request: Request<pb::UpdateServiceRequest>,
    ) -> Result<Response<pb::ServiceReply>, Status> {
        let request = request.into_inner();
        let mut found = self.find(&request.r#ref)?;
        let mut table = self.table();
        if table.stale_updates > 0 {
            table.stale_updates -= 1;
            return Err(Status::aborted("failed to update the service: somebody else was quicker"));
        }
        found.spec = request.spec;
        found.spec_version += 1;
        table.services.insert(name(&found), found.clone());
        Ok(reply(found))
    }

    async fn remove_service(&self, request: Request<pb::RefRequest>) -> Result<Response<pb::Empty>, Status> {
        let found = self.find(&request.into_inner().r#ref)?;
        self.table().services.remove(&name(&found));
        Ok(Response::new(pb::Empty {}))
    }

    async fn get_service(&self, request: Request<pb::RefRequest>) -> Result<Response<pb::ServiceReply>, Status> {
        self.find(&request.into_inner().r#ref).map(reply)
    }

    async fn list_services(
        &self,
        _: Request<pb::ListServicesRequest>,
    ) -> Result<Response<Self::ListServicesStream>, Status> {
        let entry = |service: &pb::Service| pb::ServiceEntry { service: Some(service.clone()), running: 1, desired: 1 };
        Ok(stream(self.table().services.values().map(entry).collect()))
    }

    async fn watch_service(
        &self,
        _: Request<pb::WatchServiceRequest>,
    ) -> Result<Response<Self::WatchServiceStream>, Status> {
        let mut table = self.table();
        if table.broken_watches > 0 {
            table.broken_watches -= 1;
            return Err(Status::unavailable("failed to reach the leader"));
        }
        let said = tokio_stream::iter(table.progress.clone()).map(Ok);
        Ok(Response::new(Box::pin(said.chain(tokio_stream::pending()))))
    }

    async fn service_logs(
        &self,
        _: Request<pb::ServiceLogsRequest>,
    ) -> Result<Response<Self::ServiceLogsStream>, Status> {
        let mut table = self.table();
        let mut said: Vec<_> = table.logs.iter().cloned().map(Ok).collect();
        if table.broken_logs > 0 {
            table.broken_logs -= 1;
            said.splice(1.., [Err(Status::unavailable("failed to go on: the leader has changed"))]);
        }
        Ok(Response::new(Box::pin(tokio_stream::iter(said))))
    }

    async fn list_tasks(&self, _: Request<pb::ListTasksRequest>) -> Result<Response<Self::ListTasksStream>, Status> {
        not_here()
    }

    async fn get_task(&self, _: Request<pb::RefRequest>) -> Result<Response<pb::TaskEntry>, Status> {
        not_here()
    }

    async fn list_nodes(&self, _: Request<pb::ListNodesRequest>) -> Result<Response<Self::ListNodesStream>, Status> {
        not_here()
    }

    async fn get_node(&self, _: Request<pb::RefRequest>) -> Result<Response<pb::NodeEntry>, Status> {
        not_here()
    }

    async fn watch_node(&self, _: Request<pb::RefRequest>) -> Result<Response<Self::WatchNodeStream>, Status> {
        not_here()
    }

    async fn update_node(&self, _: Request<pb::UpdateNodeRequest>) -> Result<Response<pb::NodeEntry>, Status> {
        not_here()
    }

    async fn remove_node(&self, _: Request<pb::RemoveNodeRequest>) -> Result<Response<pb::Empty>, Status> {
        not_here()
    }

    async fn get_cluster(&self, _: Request<pb::Empty>) -> Result<Response<pb::ClusterReply>, Status> {
        not_here()
    }

    async fn update_cluster(&self, _: Request<pb::UpdateClusterRequest>) -> Result<Response<pb::ClusterReply>, Status> {
        not_here()
    }

    async fn rotate_token(&self, _: Request<pb::TokenRequest>) -> Result<Response<pb::TokenReply>, Status> {
        not_here()
    }

    async fn get_unlock_key(&self, _: Request<pb::UnlockKeyRequest>) -> Result<Response<pb::UnlockKeyReply>, Status> {
        not_here()
    }

    async fn rotate_unlock_key(&self, _: Request<pb::Empty>) -> Result<Response<pb::UnlockKeyReply>, Status> {
        not_here()
    }

    async fn get_backup(&self, _: Request<pb::Empty>) -> Result<Response<Self::GetBackupStream>, Status> {
        not_here()
    }

    async fn create_token(&self, _: Request<pb::TokenRequest>) -> Result<Response<pb::TokenReply>, Status> {
        not_here()
    }
}

#[tonic::async_trait]
impl Local for Answers {
    type ListContainersStream = Stream_<pb::Container>;
    type ContainerLogsStream = Stream_<pb::ContainerLogsReply>;
    type ListImagesStream = Stream_<pb::Image>;

    async fn info(&self, _: Request<pb::InfoRequest>) -> Result<Response<pb::InfoReply>, Status> {
        Ok(Response::new(pb::InfoReply { version: "9.9.9".into(), ..Default::default() }))
    }

    async fn swarm_init(&self, _: Request<pb::SwarmInitRequest>) -> Result<Response<pb::SwarmInitReply>, Status> {
        not_here()
    }

    async fn swarm_join(&self, _: Request<pb::SwarmJoinRequest>) -> Result<Response<pb::SwarmJoinReply>, Status> {
        not_here()
    }

    async fn swarm_leave(&self, _: Request<pb::SwarmLeaveRequest>) -> Result<Response<pb::SwarmLeaveReply>, Status> {
        not_here()
    }

    async fn swarm_restore(
        &self,
        _: Request<Streaming<pb::SwarmRestoreRequest>>,
    ) -> Result<Response<pb::SwarmInitReply>, Status> {
        not_here()
    }

    async fn swarm_unlock(&self, _: Request<pb::SwarmUnlockRequest>) -> Result<Response<pb::SwarmUnlockReply>, Status> {
        not_here()
    }

    async fn list_containers(
        &self,
        _: Request<pb::ListContainersRequest>,
    ) -> Result<Response<Self::ListContainersStream>, Status> {
        not_here()
    }

    async fn inspect_container(&self, _: Request<pb::ContainerRef>) -> Result<Response<pb::Container>, Status> {
        Err(Status::not_found("failed to find the container"))
    }

    async fn container_logs(
        &self,
        _: Request<pb::ContainerLogsRequest>,
    ) -> Result<Response<Self::ContainerLogsStream>, Status> {
        not_here()
    }

    async fn list_images(&self, _: Request<pb::ListImagesRequest>) -> Result<Response<Self::ListImagesStream>, Status> {
        not_here()
    }

    async fn inspect_image(&self, _: Request<pb::ImageRef>) -> Result<Response<pb::Image>, Status> {
        Err(Status::not_found("failed to find the image"))
    }

    async fn remove_image(&self, _: Request<pb::RemoveImageRequest>) -> Result<Response<pb::RemoveImageReply>, Status> {
        not_here()
    }

    async fn tag_image(&self, _: Request<pb::TagImageRequest>) -> Result<Response<pb::TagImageReply>, Status> {
        not_here()
    }

    async fn import_image(
        &self,
        request: Request<Streaming<pb::ImageUpload>>,
    ) -> Result<Response<pb::ImageUploadReply>, Status> {
        let mut upload = request.into_inner();
        let (mut header, mut bytes) = (pb::ImageUploadHeader::default(), Vec::new());
        while let Some(message) = upload.message().await? {
            match message.part {
                Some(pb::image_upload::Part::Header(part)) => header = part,
                Some(pb::image_upload::Part::Data(part)) => bytes.extend_from_slice(&part),
                None => return Err(Status::invalid_argument("failed to read an empty piece")),
            }
        }
        self.table().uploaded = (header, bytes);
        let image = pb::Image { id: "sha256:00".into(), ..Default::default() };
        Ok(Response::new(pb::ImageUploadReply { images: vec![image] }))
    }

    async fn load_image(
        &self,
        request: Request<Streaming<pb::ImageUpload>>,
    ) -> Result<Response<pb::ImageUploadReply>, Status> {
        self.import_image(request).await
    }
}
