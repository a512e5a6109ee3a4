// A recording sent in parts by tus 1.0.0, each part again until it has arrived. Knows no element.

import { Refused, ask, patiently } from "./api.js";

const TUS = { "Tus-Resumable": "1.0.0" };

// The id under which the relay holds `blob`; `told` hears which share of it has arrived.
export async function upload(blob, part, told = () => {}) {
  const place = await patiently(() => begun(blob));
  let offset = 0;
  while (offset < blob.size) {
    offset = await patiently(() => sent(place, blob.slice(offset, offset + part), offset));
    told(offset / blob.size);
  }
  return place.split("/").pop();
}

async function begun(blob) {
  const headers = { ...TUS, "Upload-Length": String(blob.size) };
  const answer = await ask("/v1/uploads", { method: "POST", headers });
  return new URL(answer.headers.get("Location"), location.href).pathname;
}

// Where the next part begins. A part whose answer was lost has arrived perhaps: the relay knows.
async function sent(place, part, offset) {
  const headers = { ...TUS, "Upload-Offset": String(offset), "Content-Type": "application/offset+octet-stream" };
  try {
    const answer = await ask(place, { method: "PATCH", headers, body: part });
    return Number(answer.headers.get("Upload-Offset"));
  } catch (wrong) {
    if (!(wrong instanceof Refused && wrong.status === 409)) throw wrong;
    const answer = await ask(place, { method: "HEAD", headers: TUS });
    return Number(answer.headers.get("Upload-Offset"));
  }
}
