/** Files of the phone, as promises. Knows no format. */

import { Port } from './port'
import { File } from './parts'

export class Files {
  constructor(
    private readonly port: Port,
    private readonly folder: string,
  ) {}

  /** Where `name` lies. */
  at(name: string): string {
    return `${this.folder}/${name}`
  }

  /** Keeps `bytes` under `name`; where. */
  write(name: string, bytes: ArrayBuffer): Promise<string> {
    const filePath = this.at(name)
    return new Promise((resolve, reject) => {
      this.port.getFileSystemManager().writeFile({
        filePath,
        data: bytes,
        success: () => resolve(filePath),
        fail: ({ errMsg }) => reject(new Error(errMsg)),
      })
    })
  }

  read(filePath: string, position?: number, length?: number): Promise<ArrayBuffer> {
    return new Promise((resolve, reject) => {
      this.port.getFileSystemManager().readFile({
        filePath,
        position,
        length,
        success: ({ data }) => resolve(data as ArrayBuffer),
        fail: ({ errMsg }) => reject(new Error(errMsg)),
      })
    })
  }

  /** A file to be sent in parts. */
  async opened(filePath: string): Promise<File> {
    const bytes = await this.size(filePath)
    return { bytes, read: (position, length) => this.read(filePath, position, length) }
  }

  size(filePath: string): Promise<number> {
    return new Promise((resolve, reject) => {
      this.port.getFileSystemManager().getFileInfo({
        filePath,
        success: ({ size }) => resolve(size),
        fail: ({ errMsg }) => reject(new Error(errMsg)),
      })
    })
  }

  /** Names of what lies in the folder. */
  names(): Promise<string[]> {
    return new Promise((resolve) => {
      const dirPath = this.folder
      this.port.getFileSystemManager().readdir({ dirPath, success: ({ files }) => resolve(files), fail: () => resolve([]) })
    })
  }

  exists(filePath: string): Promise<boolean> {
    return this.size(filePath).then(
      () => true,
      () => false,
    )
  }

  /** What is not there any more need not be removed. */
  remove(filePath: string): Promise<void> {
    return new Promise((resolve) => {
      this.port.getFileSystemManager().unlink({ filePath, complete: () => resolve() })
    })
  }

  /** Keeps a file that WeChat would clear; where. */
  save(tempFilePath: string): Promise<string> {
    return new Promise((resolve, reject) => {
      this.port.getFileSystemManager().saveFile({
        tempFilePath,
        success: ({ savedFilePath }) => resolve(savedFilePath),
        fail: ({ errMsg }) => reject(new Error(errMsg)),
      })
    })
  }

  /** Fetches `url` to a file of the phone's own, which WeChat clears when it likes. */
  fetch(url: string): Promise<string> {
    return new Promise((resolve, reject) => {
      this.port.downloadFile({
        url,
        success: ({ statusCode, tempFilePath }) =>
          statusCode === 200 ? resolve(tempFilePath) : reject(new Error(`HTTP ${statusCode}`)),
        fail: ({ errMsg }) => reject(new Error(errMsg)),
      })
    })
  }
}
