// A typed or spoken turn over gRPC from Node.
//
//   npm install
//   node talk.mjs "hello there"            a typed turn
//   node talk.mjs --wav question.wav       a spoken one: 16 kHz mono 16-bit WAV
//
// PARLEY_GATEWAY=host:port says where the gateway is; the protos lie in ../../protos, or where PARLEY_PROTOS says.
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";
import googleProtos from "google-proto-files"; // google/rpc/status.proto

const FRAME_MS = 20;
const FRAME_BYTES = (16000 / 1000) * FRAME_MS * 2;
const protos = process.env.PARLEY_PROTOS ?? join(dirname(fileURLToPath(import.meta.url)), "..", "..", "protos");
const definition = loader.loadSync("parley/gateway/v1/conversation_service.proto", {
  includeDirs: [protos, googleProtos.getProtoPath("..")],
  keepCase: true,
  longs: Number,
  enums: String,
  oneofs: true,
});
const { ConversationService } = grpc.loadPackageDefinition(definition).parley.gateway.v1;
const gateway = process.env.PARLEY_GATEWAY ?? "127.0.0.1:50050";
const call = new ConversationService(gateway, grpc.credentials.createInsecure()).Converse();

const replyAudio = [];
let microphone;

call.on("data", (response) => {
  switch (response.response) {
    case "ready":
      console.log(`conversation ${response.ready.conversation_id}`);
      begin();
      break;
    case "transcript":
      if (response.transcript.is_final) console.log(`you ▸ ${response.transcript.text}`);
      break;
    case "reply_text":
      process.stdout.write(response.reply_text.text);
      break;
    case "reply_audio":
      replyAudio.push(...response.reply_audio.audio.packets);
      break;
    case "reply_ended":
      console.log(`\n${response.reply_ended.outcome}, heard: ${response.reply_ended.heard_text}`);
      leave();
      break;
    case "error":
      console.error(response.error.status.message);
      break;
  }
});
call.on("error", (error) => {
  console.error(error.details);
  process.exitCode = 1;
  clearInterval(microphone);
});
call.write({ config: {} });

function begin() {
  const [first, file] = process.argv.slice(2);
  if (first !== "--wav") {
    call.write({ text: first ?? "hello there" });
    return;
  }
  // The microphone goes on after the last word: the gateway hears in the silence that the turn is over.
  const speech = readFileSync(file).subarray(44);
  let position = 0;
  microphone = setInterval(() => {
    const frame = speech.subarray(position, position + FRAME_BYTES);
    position += FRAME_BYTES;
    call.write({ audio: { packets: [frame.length === FRAME_BYTES ? frame : Buffer.alloc(FRAME_BYTES)] } });
  }, FRAME_MS);
}

function leave() {
  clearInterval(microphone);
  writeFileSync("reply.pcm", Buffer.concat(replyAudio));
  console.log(`reply.pcm: ${replyAudio.length} packets of 24 kHz mono s16`);
  call.write({ end_conversation: {} });
  call.end();
}
