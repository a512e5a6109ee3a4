/**
 * What the services use of `wx`. Pages hand `wx` itself in; tests hand in another that is as real as
 * Node allows. Nothing in this folder names `wx`.
 */

export type Port = Pick<
  WechatMiniprogram.Wx,
  | 'request'
  | 'uploadFile'
  | 'downloadFile'
  | 'connectSocket'
  | 'login'
  | 'getStorageSync'
  | 'setStorageSync'
  | 'removeStorageSync'
  | 'getFileSystemManager'
  | 'onNetworkStatusChange'
  | 'offNetworkStatusChange'
>

/** Waits. */
export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}
