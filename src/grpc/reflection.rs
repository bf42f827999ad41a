//! `grpc.reflection`: the services and messages of the gateway, for tools without proto files.
//!
//! An unknown name is answered with an `ErrorResponse`, as the protocol demands, and the stream
//! continues. `v1` and `v1alpha` have the same bytes under two names, so one service answers both.

use std::{collections::HashMap, sync::Arc};

use axum::Router;
use futures_util::{StreamExt, stream::BoxStream};
use http::{Request, Uri, uri::PathAndQuery};
use prost_reflect::{DescriptorPool, FileDescriptor};
use tonic::{Code, Response, Status, Streaming, async_trait, codec::CompressionEncoding};
use tonic_reflection::pb::{
    v1::{
        self, ErrorResponse, ExtensionNumberResponse, FileDescriptorResponse, ListServiceResponse,
        ServerReflectionRequest, ServerReflectionResponse, ServiceResponse,
        server_reflection_request::MessageRequest,
        server_reflection_response::MessageResponse,
        server_reflection_server::{SERVICE_NAME, ServerReflection, ServerReflectionServer},
    },
    v1alpha::{self, server_reflection_server::SERVICE_NAME as OLD_NAME},
};
use tower::ServiceExt;

use super::{
    OPEN_MESSAGE_BYTES_MAX,
    descriptor::{DescriptorError, descriptor_pool},
    status::Failure,
};

/// Adds both versions to the services of a door.
pub(super) fn add(router: Router) -> Result<Router, DescriptorError> {
    let mut pool = descriptor_pool()?;
    for set in [v1::FILE_DESCRIPTOR_SET, v1alpha::FILE_DESCRIPTOR_SET] {
        pool.decode_file_descriptor_set(set)?;
    }
    let symbols = symbols(&pool);
    let described = Arc::new(Described { pool, symbols });
    let server = ServerReflectionServer::new(Reflection(described))
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd)
        .max_decoding_message_size(OPEN_MESSAGE_BYTES_MAX);
    let server = server.map_request(renamed);
    Ok([SERVICE_NAME, OLD_NAME]
        .iter()
        .fold(router, |router, name| {
            router.route_service(&format!("/{name}/{{*method}}"), server.clone())
        }))
}

/// The same request under the name that the generated code knows.
fn renamed(mut request: Request<axum::body::Body>) -> Request<axum::body::Body> {
    let method = request.uri().path().rsplit('/').next().unwrap_or_default();
    if let Ok(path) = PathAndQuery::try_from(format!("/{SERVICE_NAME}/{method}")) {
        *request.uri_mut() = Uri::from(path);
    }
    request
}

struct Reflection(Arc<Described>);

struct Described {
    pool: DescriptorPool,
    symbols: HashMap<String, FileDescriptor>,
}

#[async_trait]
impl ServerReflection for Reflection {
    type ServerReflectionInfoStream = BoxStream<'static, Result<ServerReflectionResponse, Status>>;

    async fn server_reflection_info(
        &self,
        request: tonic::Request<Streaming<ServerReflectionRequest>>,
    ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
        let described = self.0.clone();
        let answers = request.into_inner().map(move |request| match request {
            Ok(request) => Ok(described.respond(request)),
            // `incoming` made an error with details: the message was too slow or too large.
            Err(status) if !status.details().is_empty() => Err(status),
            Err(status) => Err(Failure::unreadable(&status).into()),
        });
        Ok(Response::new(answers.boxed()))
    }
}

impl Described {
    fn respond(&self, request: ServerReflectionRequest) -> ServerReflectionResponse {
        let answer = self.answer(request.message_request.as_ref());
        let message_response = answer.unwrap_or_else(|(code, error_message)| {
            MessageResponse::ErrorResponse(ErrorResponse {
                error_code: code as i32,
                error_message,
            })
        });
        ServerReflectionResponse {
            valid_host: request.host.clone(),
            original_request: Some(request),
            message_response: Some(message_response),
        }
    }

    fn answer(&self, question: Option<&MessageRequest>) -> Result<MessageResponse, (Code, String)> {
        let missing = |what: &str, name: &str| {
            let name: String = name.chars().take(256).collect();
            (
                Code::NotFound,
                format!("this gateway has no {what} {name:?}"),
            )
        };
        let file = match question {
            Some(MessageRequest::FileByFilename(name)) => self
                .pool
                .get_file_by_name(name)
                .ok_or_else(|| missing("file", name))?,
            Some(MessageRequest::FileContainingSymbol(name)) => {
                let file = self.symbols.get(name).cloned();
                file.ok_or_else(|| missing("symbol", name))?
            }
            Some(MessageRequest::FileContainingExtension(asked)) => {
                let name = &asked.containing_type;
                let number = u32::try_from(asked.extension_number).ok();
                self.pool
                    .get_message_by_name(name)
                    .zip(number)
                    .and_then(|(message, number)| message.get_extension(number))
                    .map(|extension| extension.parent_file())
                    .ok_or_else(|| missing("extension with this number of", name))?
            }
            Some(MessageRequest::AllExtensionNumbersOfType(name)) => {
                let message = self
                    .pool
                    .get_message_by_name(name)
                    .ok_or_else(|| missing("message", name))?;
                return Ok(MessageResponse::AllExtensionNumbersResponse(
                    ExtensionNumberResponse {
                        base_type_name: name.clone(),
                        extension_number: message
                            .extensions()
                            .filter_map(|extension| i32::try_from(extension.number()).ok())
                            .collect(),
                    },
                ));
            }
            Some(MessageRequest::ListServices(_)) => {
                let service = self.pool.services().map(|service| ServiceResponse {
                    name: service.full_name().to_owned(),
                });
                return Ok(MessageResponse::ListServicesResponse(ListServiceResponse {
                    service: service.collect(),
                }));
            }
            None => {
                let message = "this gateway does not know this kind of reflection request";
                return Err((Code::Unimplemented, message.into()));
            }
        };
        Ok(MessageResponse::FileDescriptorResponse(
            FileDescriptorResponse {
                file_descriptor_proto: vec![file.encode_to_vec()],
            },
        ))
    }
}

/// The file that declares each message, enum, service, extension and member, by full name.
fn symbols(pool: &DescriptorPool) -> HashMap<String, FileDescriptor> {
    let mut symbols = HashMap::new();
    let mut add = |name: &str, file: &FileDescriptor| symbols.insert(name.into(), file.clone());
    for message in pool.all_messages() {
        let file = message.parent_file();
        add(message.full_name(), &file);
        for field in message.fields() {
            add(field.full_name(), &file);
        }
        for oneof in message.oneofs() {
            add(oneof.full_name(), &file);
        }
    }
    for an_enum in pool.all_enums() {
        let file = an_enum.parent_file();
        add(an_enum.full_name(), &file);
        for value in an_enum.values() {
            // By both names: beside its enum, which is protobuf's rule, and inside it, which many
            // use.
            add(value.full_name(), &file);
            add(&format!("{}.{}", an_enum.full_name(), value.name()), &file);
        }
    }
    for service in pool.services() {
        let file = service.parent_file();
        add(service.full_name(), &file);
        for method in service.methods() {
            add(method.full_name(), &file);
        }
    }
    for extension in pool.all_extensions() {
        add(extension.full_name(), &extension.parent_file());
    }
    symbols
}
