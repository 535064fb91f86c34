// As much of PKCS#11 v2.40 as p11-faults.c touches: its types, and the function list with every unused entry
// in its place. Written from the standard, so that the module compiles without a package of headers.

#ifndef SEALGATE_DRILL_PKCS11_H
#define SEALGATE_DRILL_PKCS11_H

typedef unsigned char CK_BYTE;
typedef unsigned char CK_BBOOL;
typedef unsigned long CK_ULONG;
typedef CK_ULONG CK_RV;
typedef CK_ULONG CK_FLAGS;
typedef CK_ULONG CK_SLOT_ID;
typedef CK_ULONG CK_SESSION_HANDLE;
typedef CK_ULONG CK_OBJECT_HANDLE;
typedef CK_ULONG CK_USER_TYPE;
typedef void *CK_VOID_PTR;

#define CKR_OK 0x00UL
#define CKR_GENERAL_ERROR 0x05UL
#define CKR_FUNCTION_FAILED 0x06UL
#define CKR_KEY_HANDLE_INVALID 0x60UL
#define CKR_OBJECT_HANDLE_INVALID 0x82UL
#define CKR_SESSION_COUNT 0xB1UL
#define CKR_SESSION_HANDLE_INVALID 0xB3UL
#define CKR_SESSION_READ_WRITE_SO_EXISTS 0xB8UL
#define CKR_TOKEN_NOT_PRESENT 0xE0UL
#define CKR_TOKEN_WRITE_PROTECTED 0xE2UL

#define CKF_RW_SESSION 0x02UL

typedef struct {
  CK_BYTE major;
  CK_BYTE minor;
} CK_VERSION;

typedef struct {
  CK_BYTE label[32];
  CK_BYTE manufacturerID[32];
  CK_BYTE model[16];
  CK_BYTE serialNumber[16];
  CK_FLAGS flags;
  CK_ULONG ulMaxSessionCount;
  CK_ULONG ulSessionCount;
  CK_ULONG ulMaxRwSessionCount;
  CK_ULONG ulRwSessionCount;
  CK_ULONG ulMaxPinLen;
  CK_ULONG ulMinPinLen;
  CK_ULONG ulTotalPublicMemory;
  CK_ULONG ulFreePublicMemory;
  CK_ULONG ulTotalPrivateMemory;
  CK_ULONG ulFreePrivateMemory;
  CK_VERSION hardwareVersion;
  CK_VERSION firmwareVersion;
  CK_BYTE utcTime[16];
} CK_TOKEN_INFO;

// In the order of the standard; `skipped` stands for functions that go to the real module unseen.
typedef struct {
  CK_VERSION version;
  CK_RV (*C_Initialize)(CK_VOID_PTR);
  CK_RV (*C_Finalize)(CK_VOID_PTR);
  void *skipped_C_GetInfo;
  void *C_GetFunctionList;
  CK_RV (*C_GetSlotList)(CK_BBOOL, CK_SLOT_ID *, CK_ULONG *);
  void *skipped_C_GetSlotInfo;
  CK_RV (*C_GetTokenInfo)(CK_SLOT_ID, CK_TOKEN_INFO *);
  void *skipped_C_GetMechanismList_to_C_SetPIN[5];
  CK_RV (*C_OpenSession)(CK_SLOT_ID, CK_FLAGS, CK_VOID_PTR, CK_VOID_PTR, CK_SESSION_HANDLE *);
  CK_RV (*C_CloseSession)(CK_SESSION_HANDLE);
  CK_RV (*C_CloseAllSessions)(CK_SLOT_ID);
  CK_RV (*C_GetSessionInfo)(CK_SESSION_HANDLE, CK_VOID_PTR);
  void *skipped_C_GetOperationState_and_C_SetOperationState[2];
  CK_RV (*C_Login)(CK_SESSION_HANDLE, CK_USER_TYPE, CK_BYTE *, CK_ULONG);
  CK_RV (*C_Logout)(CK_SESSION_HANDLE);
  void *skipped_C_CreateObject_and_C_CopyObject[2];
  CK_RV (*C_DestroyObject)(CK_SESSION_HANDLE, CK_OBJECT_HANDLE);
  void *skipped_C_GetObjectSize;
  CK_RV (*C_GetAttributeValue)(CK_SESSION_HANDLE, CK_OBJECT_HANDLE, CK_VOID_PTR, CK_ULONG);
  void *skipped_C_SetAttributeValue;
  CK_RV (*C_FindObjectsInit)(CK_SESSION_HANDLE, CK_VOID_PTR, CK_ULONG);
  CK_RV (*C_FindObjects)(CK_SESSION_HANDLE, CK_OBJECT_HANDLE *, CK_ULONG, CK_ULONG *);
  CK_RV (*C_FindObjectsFinal)(CK_SESSION_HANDLE);
  CK_RV (*C_EncryptInit)(CK_SESSION_HANDLE, CK_VOID_PTR, CK_OBJECT_HANDLE);
  CK_RV (*C_Encrypt)(CK_SESSION_HANDLE, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
  void *skipped_C_EncryptUpdate_and_C_EncryptFinal[2];
  CK_RV (*C_DecryptInit)(CK_SESSION_HANDLE, CK_VOID_PTR, CK_OBJECT_HANDLE);
  CK_RV (*C_Decrypt)(CK_SESSION_HANDLE, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
  void *skipped_C_DecryptUpdate_to_C_DigestFinal[7];
  CK_RV (*C_SignInit)(CK_SESSION_HANDLE, CK_VOID_PTR, CK_OBJECT_HANDLE);
  CK_RV (*C_Sign)(CK_SESSION_HANDLE, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
  void *skipped_C_SignUpdate_to_C_DecryptVerifyUpdate[14];
  CK_RV (*C_GenerateKey)(CK_SESSION_HANDLE, CK_VOID_PTR, CK_VOID_PTR, CK_ULONG, CK_OBJECT_HANDLE *);
  CK_RV (*C_GenerateKeyPair)(CK_SESSION_HANDLE, CK_VOID_PTR, CK_VOID_PTR, CK_ULONG, CK_VOID_PTR, CK_ULONG,
                             CK_OBJECT_HANDLE *, CK_OBJECT_HANDLE *);
  void *skipped_C_WrapKey_to_C_WaitForSlotEvent[8];
} CK_FUNCTION_LIST;

#endif
