//! The generated trait, each method one call further.

use std::sync::Arc;

use skep_proto::pb;
use skep_proto::pb::local_server::Local;
use skep_runtime::Runtime;
use tonic::{Request, Response, Status, Streaming};

use super::image::Listing;
use super::{container, image, restore, swarm};
use crate::daemon::membership::Membership;

/// What the local socket serves besides the cluster's calls.
#[derive(Clone, Debug)]
pub(crate) struct LocalService {
    /// Containers and images.
    pub runtime: Arc<Runtime>,
    /// Whether the machine is part of a swarm.
    pub membership: Arc<Membership>,
}

#[tonic::async_trait]
impl Local for LocalService {
    type ListContainersStream = Listing<pb::Container>;
    type ContainerLogsStream = Listing<pb::ContainerLogsReply>;
    type ListImagesStream = Listing<pb::Image>;

    async fn info(&self, _: Request<pb::InfoRequest>) -> Result<Response<pb::InfoReply>, Status> {
        Ok(Response::new(swarm::info(&self.membership, &self.runtime).await))
    }

    async fn swarm_init(&self, request: Request<pb::SwarmInitRequest>) -> Result<Response<pb::SwarmInitReply>, Status> {
        swarm::init(&self.membership, request.into_inner()).await.map(Response::new)
    }

    async fn swarm_join(&self, request: Request<pb::SwarmJoinRequest>) -> Result<Response<pb::SwarmJoinReply>, Status> {
        swarm::join(&self.membership, request.into_inner()).await.map(Response::new)
    }

    async fn swarm_leave(
        &self,
        request: Request<pb::SwarmLeaveRequest>,
    ) -> Result<Response<pb::SwarmLeaveReply>, Status> {
        swarm::leave(&self.membership, request.into_inner()).await.map(Response::new)
    }

    async fn swarm_unlock(
        &self,
        request: Request<pb::SwarmUnlockRequest>,
    ) -> Result<Response<pb::SwarmUnlockReply>, Status> {
        swarm::unlock(&self.membership, request.into_inner()).await.map(Response::new)
    }

    async fn swarm_restore(
        &self,
        request: Request<Streaming<pb::SwarmRestoreRequest>>,
    ) -> Result<Response<pb::SwarmInitReply>, Status> {
        restore::restore(&self.membership, request.into_inner()).await.map(Response::new)
    }

    async fn list_containers(
        &self,
        request: Request<pb::ListContainersRequest>,
    ) -> Result<Response<Listing<pb::Container>>, Status> {
        Ok(Response::new(container::list(&self.runtime, request.into_inner().all)))
    }

    async fn inspect_container(&self, request: Request<pb::ContainerRef>) -> Result<Response<pb::Container>, Status> {
        container::inspect(&self.runtime, &request.into_inner().r#ref).map(Response::new)
    }

    async fn container_logs(
        &self,
        request: Request<pb::ContainerLogsRequest>,
    ) -> Result<Response<Listing<pb::ContainerLogsReply>>, Status> {
        container::logs(&self.runtime, request.into_inner()).map(Response::new)
    }

    async fn list_images(&self, _: Request<pb::ListImagesRequest>) -> Result<Response<Listing<pb::Image>>, Status> {
        image::list(self.runtime.images()).await.map(Response::new)
    }

    async fn inspect_image(&self, request: Request<pb::ImageRef>) -> Result<Response<pb::Image>, Status> {
        image::inspect(self.runtime.images(), request.into_inner().r#ref).await.map(Response::new)
    }

    async fn remove_image(
        &self,
        request: Request<pb::RemoveImageRequest>,
    ) -> Result<Response<pb::RemoveImageReply>, Status> {
        image::remove(self.runtime.images(), request.into_inner()).await.map(Response::new)
    }

    async fn tag_image(&self, request: Request<pb::TagImageRequest>) -> Result<Response<pb::TagImageReply>, Status> {
        image::tag(self.runtime.images(), request.into_inner()).await.map(Response::new)
    }

    async fn import_image(
        &self,
        request: Request<Streaming<pb::ImageUpload>>,
    ) -> Result<Response<pb::ImageUploadReply>, Status> {
        image::import(self.runtime.images(), request.into_inner()).await.map(Response::new)
    }

    async fn load_image(
        &self,
        request: Request<Streaming<pb::ImageUpload>>,
    ) -> Result<Response<pb::ImageUploadReply>, Status> {
        image::load(self.runtime.images(), request.into_inner()).await.map(Response::new)
    }
}
